//! Questions to many nodes at once.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::OpError;

/// How long the others are waited for when one has answered: those that are well answer within a few milliseconds of each other.
const GRACE: Duration = Duration::from_secs(1);
/// How often those who have been asked are looked at.
const TURN: Duration = Duration::from_millis(1);

/// The answers of those who answer: all that come until the first failure of the last one, or until [`GRACE`] after the first.
pub(super) fn gather<K: Copy, T>(mut asked: Vec<(K, Receiver<Result<T, OpError>>)>) -> Vec<(K, T)> {
    let mut answers = Vec::new();
    let mut until: Option<Instant> = None;
    while !asked.is_empty() && until.is_none_or(|until| Instant::now() < until) {
        asked.retain(|(who, answer)| match answer.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Ok(answer)) => {
                answers.push((*who, answer));
                false
            }
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => false,
        });
        if !answers.is_empty() {
            until.get_or_insert_with(|| Instant::now() + GRACE);
        }
        thread::sleep(TURN);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn who_is_silent_or_fails_is_not_waited_for_when_another_has_answered() {
        let (well, failing, silent) = (sync_channel(1), sync_channel(1), sync_channel::<Result<u8, OpError>>(1));
        well.0.send(Ok(7)).unwrap();
        failing.0.send(Err(OpError::Closed)).unwrap();
        let begin = Instant::now();
        assert_eq!(gather(vec![(1, well.1), (2, failing.1), (3, silent.1)]), [(1, 7)]);
        assert!(begin.elapsed() >= GRACE, "the silent one had its time");
        assert!(gather(Vec::<(u8, Receiver<Result<u8, OpError>>)>::new()).is_empty());
    }
}
