//! As much HTTP/1.1 as a scrape needs: one request for each connection, bounded in size and time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Request line and headers together. Bodies are not read: nothing here takes one.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
/// What a peer may still send after its request, and is thrown away: closing on unread bytes would reset the connection and
/// could take the answer with it.
const DRAIN_BYTES_MAX: usize = 64 << 10;
/// How long that is waited for.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A request that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: String,
    /// Only the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: (u16, &'static str),
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Response {
    pub(super) fn text(status: (u16, &'static str), body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Serves one connection; `answer` is called for a request that is one. The peer has `time` for its request, and as much again
/// to take the answer.
///
/// # Errors
/// The peer was too slow to take the answer, or has gone. There is nothing to be done about it.
pub(super) fn serve(
    mut stream: TcpStream,
    time: Duration,
    answer: impl FnOnce(&Request) -> Response,
) -> io::Result<()> {
    let head = match read_head(&mut stream, Instant::now() + time) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Response::text((408, "Request Timeout"), "the request has taken too long\n"))
        }
        other => other?,
    };
    let (response, head_only) = match head.and_then(|head| parse(&head)) {
        Ok(request) => (answer(&request), request.head_only),
        Err(refusal) => (refusal, false),
    };
    let deadline = Instant::now() + time;
    write_response(&mut stream, &response, head_only, deadline)?;
    stream.shutdown(Shutdown::Write)?;
    drain(&mut stream, deadline.min(Instant::now() + DRAIN_TIME))
}

fn drain(stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    let mut rest = 0;
    let mut bytes = [0; 4096];
    while rest < DRAIN_BYTES_MAX {
        match read(stream, &mut bytes, deadline)? {
            0 => break,
            read => rest += read,
        }
    }
    Ok(())
}

/// Everything up to the empty line, or what to answer when that does not come.
fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Result<Vec<u8>, Response>> {
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let read = read(stream, &mut bytes, deadline)?;
        // The end of the head may lie across two reads.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&bytes[..read]);
        if head.len() > HEAD_BYTES_MAX {
            let body = format!("a request may have {HEAD_BYTES_MAX} bytes\n");
            return Ok(Err(Response::text((431, "Request Header Fields Too Large"), body)));
        }
        if let Some(at) = head[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            head.truncate(from + at);
            return Ok(Ok(head));
        }
        if read == 0 {
            return Ok(Err(Response::text((400, "Bad Request"), "the request has no end\n")));
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, Response> {
    let bad = |why: &str| Response::text((400, "Bad Request"), format!("{why}\n"));
    let head = std::str::from_utf8(head).map_err(|_| bad("the request is not text"))?;
    let line = head.split("\r\n").next().unwrap_or_default();
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(bad("this is not HTTP")) };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err(bad("this is not HTTP/1.1 with a path"));
    }
    if method != "GET" && method != "HEAD" {
        return Err(Response::text((405, "Method Not Allowed"), "only GET and HEAD\n"));
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { path, head_only: method == "HEAD" })
}

fn write_response(stream: &mut TcpStream, response: &Response, head_only: bool, deadline: Instant) -> io::Result<()> {
    let Response { status: (code, phrase), content_type, body } = response;
    let allow = if *code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {code} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        bytes.push_str(body);
    }
    let mut rest = bytes.as_bytes();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let written = stream.write(rest).map_err(timed_out)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// One read within what is left of the time: a peer that sends a byte now and then gains nothing by it.
fn read(stream: &mut TcpStream, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
    stream.set_read_timeout(Some(left(deadline)?))?;
    stream.read(bytes).map_err(timed_out)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket reports its timeout as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_asked_for_with_get_or_head_is_a_request() {
        let request = |path: &str, head_only| Request { path: path.to_owned(), head_only };
        assert_eq!(parse(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a").unwrap(), request("/metrics", false));
        assert_eq!(parse(b"HEAD / HTTP/1.0").unwrap(), request("/", true));
        let refused = |head: &[u8]| parse(head).unwrap_err().status.0;
        for head in [&b""[..], b"GET", b"GET / HTTP/2", b"GET metrics HTTP/1.1", b"\xff\xfe / HTTP/1.1", b"a  b"] {
            assert_eq!(refused(head), 400, "{head:?}");
        }
        assert_eq!(refused(b"POST /metrics HTTP/1.1"), 405);
    }
}
