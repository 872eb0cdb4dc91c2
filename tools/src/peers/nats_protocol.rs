//! The lines that NATS servers and clients exchange, and appends as published messages.

use std::io::Write;
use std::slice::ChunksExact;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::load::Acknowledged;
use super::wire::{Answer, Codec};

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// Nothing that has to be done.
    Told,
    Ping,
    Pong,
    Error(&'a str),
    Delivered {
        subject: &'a str,
        reply: Option<&'a str>,
        header: &'a [u8],
        payload: &'a [u8],
    },
}

/// Subscribes to a subject.
pub(super) fn subscribe(out: &mut Vec<u8>, subject: &str) {
    write!(out, "SUB {subject} 1\r\n").expect("a vector takes everything");
}

/// Publishes a message that is to be answered.
pub(super) fn publish(out: &mut Vec<u8>, subject: &str, reply: &str, payload: &[u8]) {
    write!(out, "PUB {subject} {reply} {}\r\n", payload.len()).expect("a vector takes everything");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The message at the start of `input` and its bytes, if it is whole.
pub(super) fn message(input: &[u8]) -> anyhow::Result<Option<(usize, Message<'_>)>> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&input[..end])?;
    let begin = end + 2;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match word {
        "MSG" => delivered(rest, false, begin, input)?,
        "HMSG" => delivered(rest, true, begin, input)?,
        "PING" => Some((begin, Message::Ping)),
        "PONG" => Some((begin, Message::Pong)),
        "-ERR" => Some((begin, Message::Error(rest))),
        "INFO" | "+OK" => Some((begin, Message::Told)),
        other => bail!("a message that begins with {other:?}"),
    })
}

fn delivered<'a>(
    line: &'a str,
    has_header: bool,
    begin: usize,
    input: &'a [u8],
) -> anyhow::Result<Option<(usize, Message<'a>)>> {
    let words: Vec<&str> = line.split(' ').collect();
    let counts = 1 + usize::from(has_header);
    let (names, numbers) = words.split_at_checked(words.len().wrapping_sub(counts)).context("a short message line")?;
    let numbers = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    let (subject, reply) = match *names {
        [subject, _] => (subject, None),
        [subject, _, reply] => (subject, Some(reply)),
        _ => bail!("a message line with {} names", names.len()),
    };
    let total = numbers[counts - 1];
    let header_bytes = if has_header { numbers[0] } else { 0 };
    let Some(body) = input.get(begin..begin + total + 2) else { return Ok(None) };
    let (header, payload) = body[..total].split_at_checked(header_bytes).context("a header longer than its message")?;
    Ok(Some((begin + total + 2, Message::Delivered { subject, reply, header, payload })))
}

impl<'a> Message<'a> {
    /// What was published.
    pub(super) fn payload(&self) -> &'a [u8] {
        match self {
            Self::Delivered { payload, .. } => payload,
            _ => b"",
        }
    }

    /// Where a record that a consumer delivers is in its stream: the sixth word of the subject of its acknowledgement.
    pub(super) fn stream_sequence(&self) -> Option<u64> {
        let Self::Delivered { reply: Some(reply), .. } = self else { return None };
        reply.strip_prefix("$JS.ACK.")?.split('.').nth(3)?.parse().ok()
    }

    /// What a header says instead of a message.
    pub(super) fn status(&self) -> Option<&'a str> {
        let Self::Delivered { header, .. } = self else { return None };
        std::str::from_utf8(header).ok()?.strip_prefix("NATS/1.0 ")?.lines().next()
    }
}

/// The answer to a question; nothing when it is another message.
///
/// # Errors
/// It is an error.
pub(super) fn to_json(message: &Message<'_>) -> anyhow::Result<Option<Value>> {
    if let Some(status) = message.status() {
        bail!("the servers answer {status}");
    }
    match message {
        Message::Error(error) => bail!("the server says {error}"),
        Message::Delivered { payload, .. } => {
            let mut answer: Value = serde_json::from_slice(payload)?;
            match answer["error"].take() {
                Value::Null => Ok(Some(answer)),
                error => bail!("{}", error["description"].as_str().unwrap_or("an error without a description")),
            }
        }
        _ => Ok(None),
    }
}

/// What a stream says of a record.
#[derive(Deserialize)]
struct Ack {
    seq: Option<u64>,
    error: Option<Value>,
}

/// Appends by publishing, one message for each record; acknowledgements come to a subject that names the record.
pub(super) struct Publishes {
    log: String,
    inbox: String,
}

impl Publishes {
    /// Connections of one log are numbered.
    pub(super) fn new(log: &str, number: usize) -> Self {
        Self { log: log.to_owned(), inbox: format!("_I.{log}.{number}.") }
    }

    /// What the subjects of all acknowledgements begin with.
    pub(super) fn inbox(&self) -> &str {
        &self.inbox
    }
}

impl Codec for Publishes {
    fn append(&mut self, first: u64, records: ChunksExact<'_, u8>, out: &mut Vec<u8>) {
        for (record, name) in records.zip(first..) {
            write!(out, "PUB {} {}{name} {}\r\n", self.log, self.inbox, record.len())
                .expect("a vector takes everything");
            out.extend_from_slice(record);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn answer(&mut self, input: &[u8]) -> anyhow::Result<Option<(usize, Answer)>> {
        let Some((bytes, message)) = message(input)? else { return Ok(None) };
        let answer = match message {
            Message::Ping => Answer::Other(b"PONG\r\n"),
            Message::Told | Message::Pong => Answer::Other(b""),
            Message::Error(error) => bail!("the server says {error}"),
            Message::Delivered { subject, payload, .. } => {
                let first = subject.strip_prefix(&self.inbox).and_then(|name| name.parse().ok());
                let first = first.with_context(|| format!("an answer to {subject}"))?;
                match message.status() {
                    Some(status) => Answer::Refused(first, status.to_owned()),
                    None => verdict(first, payload)?,
                }
            }
        };
        Ok(Some((bytes, answer)))
    }
}

fn verdict(first: u64, payload: &[u8]) -> anyhow::Result<Answer> {
    let ack: Ack = serde_json::from_slice(payload)?;
    Ok(match ack {
        Ack { error: Some(error), .. } => Answer::Refused(first, error.to_string()),
        Ack { seq: Some(offset), .. } => Answer::Acknowledged(first, Acknowledged { offset, step: 0 }),
        Ack { .. } => bail!("an acknowledgement without a place"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_only_when_it_is_whole() {
        let text = b"MSG s 1 $JS.ACK.log.name.1.42.7.1700000000.0 4\r\na\r\nb\r\nPING\r\n";
        let whole = text.len() - b"PING\r\n".len();
        for cut in 0..whole {
            assert_eq!(message(&text[..cut]).unwrap(), None, "{cut}");
        }
        let (bytes, delivered) = message(text).unwrap().unwrap();
        assert_eq!((bytes, delivered.payload()), (whole, &b"a\r\nb"[..]));
        assert_eq!((delivered.stream_sequence(), delivered.status()), (Some(42), None));
        assert_eq!(message(&text[whole..]).unwrap(), Some((6, Message::Ping)));
    }

    #[test]
    fn a_status_is_in_the_header() {
        let header = b"NATS/1.0 503 No Responders\r\n\r\n";
        let mut text = format!("HMSG _I.log.0.7 1 {} {}\r\n", header.len(), header.len()).into_bytes();
        text.extend_from_slice(header);
        text.extend_from_slice(b"\r\n");
        let (bytes, delivered) = message(&text).unwrap().unwrap();
        assert_eq!((bytes, delivered.status()), (text.len(), Some("503 No Responders")));
        assert!(to_json(&delivered).is_err());
        let refused = Publishes::new("log", 0).answer(&text).unwrap().unwrap().1;
        assert_eq!(refused, Answer::Refused(7, "503 No Responders".to_owned()));
    }

    #[test]
    fn acknowledgements_name_the_record_and_its_place() {
        let mut publishes = Publishes::new("log", 3);
        let mut out = Vec::new();
        publishes.append(8, b"onetwo".chunks_exact(3), &mut out);
        assert_eq!(out, b"PUB log _I.log.3.8 3\r\none\r\nPUB log _I.log.3.9 3\r\ntwo\r\n");
        let mut answer = |payload: &str| {
            let text = format!("MSG _I.log.3.9 1 {}\r\n{payload}\r\n", payload.len());
            publishes.answer(text.as_bytes()).map(|answer| answer.unwrap().1)
        };
        let place = Acknowledged { offset: 12, step: 0 };
        assert_eq!(answer(r#"{"stream":"log", "seq":12}"#).unwrap(), Answer::Acknowledged(9, place));
        let refused = answer(r#"{"error":{"code":503,"description":"full"}}"#).unwrap();
        assert!(matches!(refused, Answer::Refused(9, reason) if reason.contains("full")));
        assert!(answer("{}").is_err());
    }

    #[test]
    fn other_lines_are_told_or_an_error() {
        assert_eq!(message(b"INFO {\"a\":1}\r\n").unwrap().unwrap().1, Message::Told);
        assert_eq!(message(b"-ERR 'no'\r\n").unwrap().unwrap().1, Message::Error("'no'"));
        for wrong in [&b"MSG s 1 x\r\n"[..], b"MSG\r\n", b"MSG 5\r\n", b"HMSG s 1 9 2\r\nab\r\n", b"WHAT\r\n"] {
            assert!(message(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
