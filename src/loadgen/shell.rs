//! Commands as text.

/// A command as it can be pasted into a shell.
pub fn quoted(command: &[String]) -> String {
    let quote = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted() {
        assert_eq!(
            quoted(&["naxos".into(), "a b".into(), "it's".into(), "--x=1".into()]),
            r"naxos 'a b' 'it'\''s' --x=1"
        );
    }
}
