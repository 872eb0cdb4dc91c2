use super::header::FrameError;
use crate::base::{Instant, Stage};

/// Where the time of an append went on the sequencer's node. The client, which knows the rest, makes its latency profile of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Residence {
    /// When the append came in, on the node's own clock, in nanoseconds: good for nothing but to be compared with others of the same
    /// connection.
    pub arrived: u64,
    /// The stages in the order of [`Stage::SERVER`], in nanoseconds; what takes longer than 4.29 s is that.
    pub stages: [u32; Stage::SERVER.len()],
    /// The LogServer whose answer completed the majority, by its number in the configuration.
    pub last: u8,
}

impl Residence {
    const BODY_BYTES: usize = 8 + 4 * Stage::SERVER.len() + 4;
    /// Said by the header's *aux*: a residence follows.
    const PRESENT: u64 = 1;

    /// Nanoseconds of a stage.
    pub fn nanos(from: Instant, to: Instant) -> u32 {
        u32::try_from(to.since(from).as_nanos()).unwrap_or(u32::MAX)
    }

    /// All of them together.
    pub fn total_nanos(&self) -> u64 {
        self.stages.iter().map(|nanos| u64::from(*nanos)).sum()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.arrived.to_le_bytes());
        self.stages.iter().for_each(|nanos| out.extend_from_slice(&nanos.to_le_bytes()));
        out.extend_from_slice(&u32::from(self.last).to_le_bytes());
    }

    /// The body of an `Appended`, which is empty where nothing is measured.
    pub(super) fn decode(aux: u64, body: &[u8]) -> Result<Option<Self>, FrameError> {
        match (aux, body.len()) {
            (0, 0) => return Ok(None),
            (Self::PRESENT, Self::BODY_BYTES) => {}
            _ => return Err(FrameError::Malformed("where the time of an append went has another size")),
        }
        let word = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes"));
        let arrived = u64::from_le_bytes(body[..8].try_into().expect("eight bytes"));
        let stages = std::array::from_fn(|stage| word(8 + 4 * stage));
        let last = word(Self::BODY_BYTES - 4);
        let last = u8::try_from(last).map_err(|_| FrameError::Malformed("a LogServer has another number"))?;
        Ok(Some(Self { arrived, stages, last }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_announcement_and_an_announcement_without_body_are_refused() {
        let mut body = Vec::new();
        Residence { arrived: 1, stages: [2; 6], last: 3 }.encode(&mut body);
        assert_eq!(body.len(), Residence::BODY_BYTES);
        assert!(Residence::decode(1, &body).unwrap().is_some());
        for (aux, body) in [(0, &body[..]), (1, &[]), (2, &body[..]), (1, &body[..Residence::BODY_BYTES - 1])] {
            assert!(matches!(Residence::decode(aux, body), Err(FrameError::Malformed(_))), "{aux}");
        }
        *body.last_mut().unwrap() = 1;
        assert!(Residence::decode(1, &body).is_err(), "no such LogServer");
    }

    #[test]
    fn stages_saturate() {
        let at = Instant::from_nanos;
        assert_eq!(Residence::nanos(at(5), at(7)), 2);
        assert_eq!(Residence::nanos(at(7), at(5)), 0);
        assert_eq!(Residence::nanos(at(0), at(5_000_000_000)), u32::MAX);
    }
}
