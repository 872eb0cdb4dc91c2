//! Days and times of the calendar, in UTC, for the names and the texts of records.

use std::time::{SystemTime, UNIX_EPOCH};

/// The day, as `2026-11-22`.
pub fn day(time: SystemTime) -> String {
    let (year, month, day) = civil(seconds(time) / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Day and time to the second, as `2026-11-22T08:05:00Z` (RFC 3339).
pub fn timestamp(time: SystemTime) -> String {
    let of_day = seconds(time) % 86_400;
    format!("{}T{:02}:{:02}:{:02}Z", day(time), of_day / 3600, of_day / 60 % 60, of_day % 60)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs()
}

/// Year, month and day of a number of days after 1970-01-01, in UTC. Counted in eras of 400 years that begin in March, so
/// that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year + u64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_become_dates() {
        assert_eq!([0, 11_016, 19_782, 20_454].map(civil), [(1970, 1, 1), (2000, 2, 29), (2024, 2, 29), (2026, 1, 1)]);
    }

    #[test]
    fn a_time_is_written_to_the_second() {
        let time = UNIX_EPOCH + Duration::from_secs(19_782 * 86_400 + 23 * 3600 + 5 * 60 + 9);
        assert_eq!(timestamp(time), "2024-02-29T23:05:09Z");
    }
}
