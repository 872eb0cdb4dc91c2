use crate::base::WriterId;
use crate::base::checksum::crc32c;

/// By which a record is known again when it is in a log more than once: an append whose outcome is not known is done again with the
/// same token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendToken {
    /// Who appends.
    pub writer: WriterId,
    /// Counts the writer's records.
    pub sequence: u64,
}

/// A writer's tokens, one after another.
#[derive(Debug)]
pub struct Tokens {
    next: AppendToken,
}

impl Tokens {
    /// The tokens of a new writer.
    #[expect(clippy::new_without_default, reason = "each is another one, drawn at random")]
    pub fn new() -> Self {
        Self::of(AppendToken { writer: WriterId::random(), sequence: 0 })
    }

    /// The tokens from this one on, for a writer that has kept how far it was.
    pub fn of(next: AppendToken) -> Self {
        Self { next }
    }

    /// A token that was not given before.
    ///
    /// # Panics
    /// Beyond 2^64 of them.
    pub fn take(&mut self) -> AppendToken {
        let token = self.next;
        self.next.sequence = token.sequence.checked_add(1).expect("a writer appends far fewer records than 2^64");
        token
    }
}

/// A record with its token, as it is in the log: an envelope in front of the record's own bytes.
///
/// | bytes | |
/// |---|---|
/// | 0..3 | `nxt` |
/// | 3 | version of the envelope: 1 |
/// | 4..20 | writer, u128, little-endian |
/// | 20..28 | sequence, u64, little-endian |
/// | 28..32 | CRC-32C of the bytes before, u32, little-endian |
///
/// To the log these bytes are a part of the record. A record without an envelope is told apart by the first four bytes and the
/// checksum: none of a log with tokens should begin like that by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tokened<'a> {
    /// The token; none of a record that was appended without.
    pub token: Option<AppendToken>,
    /// The record's own bytes.
    pub record: &'a [u8],
}

/// The record is in an envelope of another version than those known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is in an envelope of version {version}, and version {} is known here", Tokened::VERSION)]
pub struct UnknownEnvelope {
    /// Its version.
    pub version: u8,
}

impl<'a> Tokened<'a> {
    /// Bytes that the envelope takes.
    pub const ENVELOPE_BYTES: usize = 32;
    /// The version written.
    pub const VERSION: u8 = 1;
    const MAGIC: &'static [u8; 3] = b"nxt";
    const CHECKED_BYTES: usize = Self::ENVELOPE_BYTES - size_of::<u32>();

    /// The bytes to append.
    pub fn wrap(token: AppendToken, record: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::ENVELOPE_BYTES + record.len());
        bytes.extend_from_slice(Self::MAGIC);
        bytes.push(Self::VERSION);
        bytes.extend_from_slice(&token.writer.0.to_le_bytes());
        bytes.extend_from_slice(&token.sequence.to_le_bytes());
        assert_eq!(bytes.len(), Self::CHECKED_BYTES, "as the table says");
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(record);
        bytes
    }

    /// What [`Tokened::wrap`] has made, or a record without a token.
    ///
    /// # Errors
    /// The envelope is of a later version.
    pub fn unwrap(bytes: &'a [u8]) -> Result<Self, UnknownEnvelope> {
        let plain = Ok(Self { token: None, record: bytes });
        let Some((envelope, record)) = bytes.split_at_checked(Self::ENVELOPE_BYTES) else { return plain };
        let (checked, checksum) = envelope.split_at(Self::CHECKED_BYTES);
        if !checked.starts_with(Self::MAGIC) || crc32c(checked).to_le_bytes() != checksum {
            return plain;
        }
        let version = checked[3];
        if version != Self::VERSION {
            return Err(UnknownEnvelope { version });
        }
        let writer = u128::from_le_bytes(checked[4..20].try_into().expect("16 bytes"));
        let sequence = u64::from_le_bytes(checked[20..28].try_into().expect("8 bytes"));
        Ok(Self { token: Some(AppendToken { writer: WriterId(writer), sequence }), record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: AppendToken = AppendToken { writer: WriterId(0x0102_0304), sequence: 0x0506 };

    /// Logs keep envelopes for as long as they are: the first version is read for ever.
    #[test]
    fn version_1_is_these_bytes() {
        let mut bytes = b"nxt\x01\x04\x03\x02\x01".to_vec();
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(b"\x06\x05\x00\x00\x00\x00\x00\x00");
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(b"record");
        assert_eq!(Tokened::wrap(TOKEN, b"record"), bytes);
        assert_eq!(Tokened::unwrap(&bytes), Ok(Tokened { token: Some(TOKEN), record: b"record" }));
    }

    #[test]
    fn an_empty_record_has_a_token_as_well() {
        let bytes = Tokened::wrap(TOKEN, b"");
        assert_eq!(bytes.len(), Tokened::ENVELOPE_BYTES);
        assert_eq!(Tokened::unwrap(&bytes), Ok(Tokened { token: Some(TOKEN), record: b"" }));
    }

    #[test]
    fn a_record_without_an_envelope_is_itself() {
        for record in [&b""[..], b"nxt", b"nxt\x01 is how this text begins, which is no envelope"] {
            assert_eq!(Tokened::unwrap(record), Ok(Tokened { token: None, record }));
        }
        let whole = Tokened::wrap(TOKEN, b"x");
        for at in 0..Tokened::ENVELOPE_BYTES {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(Tokened::unwrap(&changed).map(|record| record.token), Ok(None), "byte {at}");
        }
    }

    #[test]
    fn a_later_version_is_not_taken_for_a_record() {
        let mut bytes = Tokened::wrap(TOKEN, b"x");
        bytes[3] = 2;
        let checksum = crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..32].copy_from_slice(&checksum);
        assert_eq!(Tokened::unwrap(&bytes), Err(UnknownEnvelope { version: 2 }));
    }

    #[test]
    fn a_writer_gives_each_token_once() {
        let mut tokens = Tokens::new();
        let (first, second) = (tokens.take(), tokens.take());
        assert_eq!((first.writer, first.sequence + 1), (second.writer, second.sequence));
        assert_ne!(Tokens::new().take().writer, first.writer);
        assert_eq!(Tokens::of(first).take(), first);
    }
}
