//! `naxos man`: the manual, made from the same text as `--help`.

use std::fs;

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use super::args::{Arguments, Global, Man};
use super::output;

/// The pages, by file name.
fn pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut program = Arguments::command();
    program.build();
    let mut pages = Vec::new();
    add(&program, "naxos", &mut pages)?;
    Ok(pages)
}

/// A page for the command and for each of its subcommands: `naxos-log-seal.1`.
fn add(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).section("1").render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        add(subcommand, &format!("{name}-{}", subcommand.get_name()), pages)?;
    }
    Ok(())
}

pub(super) fn run(global: &Global, options: &Man) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    let pages = pages()?;
    for (name, page) in &pages {
        let path = options.dir.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let names: Vec<_> = pages.iter().map(|(name, _)| name).collect();
    if global.json {
        return output::json(&json!({ "directory": options.dir, "pages": names }));
    }
    output::text(format_args!("{} pages in {}", names.len(), options.dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(command: &clap::Command, see: &mut impl FnMut(&clap::Command)) {
        see(command);
        command
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .for_each(|command| visit(command, see));
    }

    #[test]
    fn every_page_renders_and_says_what_the_command_is_for() {
        let pages = pages().unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["naxos.1", "naxos-serve.1", "naxos-log-seal.1", "naxos-bench-floor.1", "naxos-man.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for (name, page) in &pages {
            let text = std::str::from_utf8(page).unwrap();
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
                assert!(text.contains(section), "{name} has no {section}");
            }
        }
    }

    #[test]
    fn every_command_has_examples_and_exit_codes_and_every_option_is_explained() {
        let mut program = Arguments::command();
        program.build();
        let mut seen = 0;
        for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
            seen += 1;
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{}", command.get_name());
        }
        assert!(seen >= 9);
        visit(&program, &mut |command| {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        });
    }
}
