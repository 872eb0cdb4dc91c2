//! Calls of gRPC over one HTTP/2 connection.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, Uri};
use tokio::net::TcpStream;

/// Whole pages of records fit, so that reading back does not wait for windows.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Before every message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A connection; it ends when the last of its clones is dropped.
#[derive(Clone)]
pub(super) struct Channel {
    send: SendRequest<Bytes>,
    server: SocketAddr,
}

/// What is called.
#[derive(Clone)]
pub(super) struct Method(Uri);

impl Channel {
    /// Connects to a server.
    pub(super) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
        stream.set_nodelay(true)?;
        let (send, connection) = client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(stream)
            .await?;
        // It ends with an error when the server does, and then so does every call.
        tokio::task::spawn_local(connection);
        Ok(Self { send, server })
    }

    /// A method of this server, as `package.Service/Method`.
    pub(super) fn method(&self, name: &str) -> anyhow::Result<Method> {
        let authority = self.server.to_string();
        Ok(Method(Uri::builder().scheme("http").authority(authority).path_and_query(format!("/{name}")).build()?))
    }

    /// Calls a method with a message, and returns the message that it answers.
    ///
    /// # Errors
    /// The connection is lost, or the answer is a status other than OK.
    pub(super) async fn call(&self, method: &Method, message: &[u8]) -> anyhow::Result<Bytes> {
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len())?);
        framed.put_slice(message);
        let request = Request::post(method.0.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("the parts of a request are valid");
        let (response, mut body) = self.send.clone().ready().await?.send_request(request, false)?;
        body.send_data(framed.freeze(), true)?;
        let response = response.await?;
        ensure!(response.status() == 200, "HTTP status {}", response.status());
        // An answer without a message has its status at the beginning.
        check(response.headers())?;
        let mut body = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        check(&body.trailers().await?.unwrap_or_default())?;
        unframe(answer.freeze())
    }
}

/// The message of an answer that has one.
fn unframe(answer: Bytes) -> anyhow::Result<Bytes> {
    let (prefix, message) = answer.split_at_checked(PREFIX_BYTES).context("an answer without a message")?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    ensure!(prefix[0] == 0, "an answer is compressed, which nobody has asked for");
    ensure!(message.len() == length as usize, "an answer of {} bytes instead of {length}", message.len());
    Ok(answer.slice(PREFIX_BYTES..))
}

/// An error for a status other than OK.
fn check(headers: &HeaderMap) -> anyhow::Result<()> {
    match headers.get("grpc-status") {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => {
            let message = headers.get("grpc-message").map_or("", |message| message.to_str().unwrap_or("?"));
            bail!("gRPC status {}: {message}", status.to_str().unwrap_or("?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_length_that_is_said() {
        assert_eq!(unframe(Bytes::from_static(&[0, 0, 0, 0, 2, 7, 8])).unwrap()[..], [7, 8]);
        assert!(unframe(Bytes::from_static(&[0, 0, 0, 0, 2, 7])).is_err());
        assert!(unframe(Bytes::from_static(&[1, 0, 0, 0, 1, 7])).is_err());
        assert!(unframe(Bytes::from_static(&[0, 0])).is_err());
    }

    #[test]
    fn any_status_but_zero_is_an_error() {
        let headers = |status: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", status.parse().unwrap());
            headers.insert("grpc-message", "no space".parse().unwrap());
            headers
        };
        check(&HeaderMap::new()).unwrap();
        check(&headers("0")).unwrap();
        assert_eq!(check(&headers("8")).unwrap_err().to_string(), "gRPC status 8: no space");
    }
}
