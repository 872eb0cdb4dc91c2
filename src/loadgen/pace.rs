//! When the next append is due.

/// How load is offered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Each client keeps this many appends in flight: the load waits for the system.
    Closed {
        /// At least 1.
        inflight: usize,
    },
    /// Appends are due at fixed times, whatever the system does; clients take turns. Latency counts from the due time, so
    /// that a stall is seen by everyone it would have hit.
    Open {
        /// Over all clients.
        appends_per_s: f64,
    },
}

/// The timetable of an open loop: append number `i`, counted over all clients, is due at `i / rate` and belongs to client
/// `i mod clients`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timetable {
    pub(super) clients: u64,
    pub(super) appends_per_s: f64,
}

impl Timetable {
    /// Nanoseconds from the start at which an append is due.
    pub(super) fn due(&self, number: u64) -> u64 {
        (number as f64 * (1e9 / self.appends_per_s)) as u64
    }

    /// The number over all clients of one client's `sequence`-th append.
    pub(super) fn number(&self, client: usize, sequence: u64) -> u64 {
        sequence * self.clients + client as u64
    }

    pub(super) fn client(&self, number: u64) -> usize {
        (number % self.clients) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Timetable;

    #[test]
    fn clients_take_turns_at_the_given_rate() {
        let table = Timetable { clients: 4, appends_per_s: 1000.0 };
        assert_eq!(table.due(1000), 1_000_000_000);
        for number in 0..20 {
            let client = table.client(number);
            assert_eq!(table.number(client, number / 4), number);
        }
    }
}
