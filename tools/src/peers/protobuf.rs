//! As much of the protobuf encoding as a few messages of etcd need: whole numbers, bytes, and messages as bytes.

use anyhow::{Context, bail};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Adds a field with a whole number.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, value);
}

/// Adds a field with bytes, a text, or a message.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Goes through the fields of a message, in their order.
///
/// # Errors
/// It is cut, or has what is not protobuf; or `each` has an objection.
pub(super) fn fields<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u32, Value<'a>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(read_varint(&mut message)?),
            1 => Value::Bytes(split(&mut message, 8)?),
            2 => {
                let bytes = read_varint(&mut message)?;
                Value::Bytes(split(&mut message, bytes)?)
            }
            5 => Value::Bytes(split(&mut message, 4)?),
            kind => bail!("a field of kind {kind}"),
        };
        each(u32::try_from(tag >> 3)?, value)?;
    }
    Ok(())
}

/// The last number that a message has in a field; zero when it has none, as the encoding leaves zeros out.
pub(super) fn number_of(message: &[u8], wanted: u32) -> anyhow::Result<u64> {
    let mut found = 0;
    fields(message, |field, value| {
        match value {
            Value::Number(number) if field == wanted => found = number,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// The last bytes that a message has in a field; none when it has none.
pub(super) fn bytes_of(message: &[u8], wanted: u32) -> anyhow::Result<&[u8]> {
    let mut found: &[u8] = &[];
    fields(message, |field, value| {
        match value {
            Value::Bytes(bytes) if field == wanted => found = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_varint(message: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = split(message, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number without end")
}

fn split<'a>(message: &mut &'a [u8], bytes: u64) -> anyhow::Result<&'a [u8]> {
    let cut = usize::try_from(bytes).ok().and_then(|bytes| message.split_at_checked(bytes));
    let (head, rest) = cut.context("a message is cut")?;
    *message = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_put() {
        let mut message = Vec::new();
        number(&mut message, 1, 300);
        bytes(&mut message, 2, b"abc");
        number(&mut message, 99, u64::MAX);
        assert_eq!(message[..3], [0x08, 0xac, 0x02]);
        let mut seen = Vec::new();
        fields(&message, |field, value| {
            seen.push((field, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(1, Value::Number(300)), (2, Value::Bytes(b"abc")), (99, Value::Number(u64::MAX))]);
        assert_eq!(number_of(&message, 99).unwrap(), u64::MAX);
        assert_eq!(bytes_of(&message, 2).unwrap(), b"abc");
        assert_eq!((number_of(&message, 3).unwrap(), bytes_of(&message, 3).unwrap()), (0, &b""[..]));
    }

    #[test]
    fn what_is_cut_or_foreign_is_an_error() {
        let mut message = Vec::new();
        bytes(&mut message, 2, b"abc");
        for cut in 1..message.len() {
            assert!(number_of(&message[..cut], 1).is_err());
        }
        assert!(number_of(&[0x0b], 1).is_err(), "a group");
        assert!(number_of(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1).is_err());
    }
}
