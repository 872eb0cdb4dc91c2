//! Nothing is gone that nobody asked to trim (P3).

use super::registry::Invariant;
use crate::history::History;

pub(super) const INVARIANT: Invariant = Invariant { name: "untrimmed-data-lost", source: "P3", check };

fn check(history: &History, breaches: &mut Vec<String>) {
    let mut asked: Vec<_> = history.trims.iter().map(|trim| (trim.invoked, trim.point)).collect();
    asked.sort_unstable();
    let mut told = history.trimmed.clone();
    told.sort_unstable_by_key(|&(_, at)| at);
    let (mut asked, mut most) = (asked.into_iter().peekable(), 0);
    for (point, at) in told {
        while let Some((_, asked)) = asked.next_if(|&(invoked, _)| invoked <= at) {
            most = asked.max(most);
        }
        if point > most {
            breaches
                .push(format!("a reader was told that everything below {point} is trimmed, and {most} was asked for"));
        }
    }
    if let Some((from, contents)) = &history.contents {
        let end = history.segments.iter().filter_map(|segment| Some(segment.stop?.0)).max().unwrap_or(0);
        if *from > history.trim_asked() || from + contents.len() as u64 != end.max(*from) {
            breaches.push(format!(
                "[{from}, {}) is left of a log that was trimmed up to {} and ends at {end}",
                from + contents.len() as u64,
                history.trim_asked()
            ));
        }
    }
}
