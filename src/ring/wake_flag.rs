//! Whether a thread that may sleep in the kernel has to be woken by a system call.
//!
//! One variable, changed by read-modify-write alone, so that its changes have one order. A notification that comes before
//! the sleeper announces its sleep makes the announcement fail; one that comes after sees the announcement and must wake.
//! No notification falls between the two, and nobody pays for a system call while the other is awake.

use super::sync::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

/// Shared by one sleeper and any number of notifiers.
///
/// What a notifier did before [`WakeFlag::notify`] is visible to the sleeper after the [`WakeFlag::awake`] or
/// [`WakeFlag::prepare_to_sleep`] that reports the notification.
#[derive(Debug, Default)]
pub struct WakeFlag(AtomicU8);

impl WakeFlag {
    /// A flag whose sleeper is awake and not notified.
    pub fn new() -> Self {
        Self(AtomicU8::new(AWAKE))
    }

    /// Notifies. True when the sleeper is, or is about to be, asleep: then the caller, and nobody else, must wake it.
    #[must_use]
    pub fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP
    }

    /// Called by the sleeper before it sleeps. False when it has been notified, which is consumed: then it must not sleep.
    #[must_use]
    pub fn prepare_to_sleep(&self) -> bool {
        if self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.0.swap(AWAKE, Ordering::AcqRel);
        false
    }

    /// Called by the sleeper when it no longer sleeps. True when it has been notified, which is consumed.
    pub fn awake(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }
}

#[cfg(test)]
mod tests {
    use super::WakeFlag;

    #[test]
    fn only_the_first_notifier_of_a_sleeper_has_to_wake_it() {
        let flag = WakeFlag::new();
        assert!(flag.prepare_to_sleep());
        assert!(flag.notify());
        assert!(!flag.notify());
        assert!(flag.awake());
        assert!(!flag.awake());
    }

    #[test]
    fn a_notification_while_awake_keeps_the_sleeper_awake_once() {
        let flag = WakeFlag::new();
        assert!(!flag.notify());
        assert!(!flag.prepare_to_sleep());
        assert!(flag.prepare_to_sleep());
    }
}
