//! Peers that vanish without a word.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How long the peer of a connection may be silent before the kernel ends the connection.
///
/// Two kinds of silence: nothing to send and no answer to probes (keepalive), and something sent that is not taken
/// (`TCP_USER_TIMEOUT`), be it that the host has gone or that its program does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PeerTimeout(Option<Duration>);

/// The shortest time that keepalive can be told.
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);

impl PeerTimeout {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Some(timeout))
    }

    /// Has the kernel watch over a connection, if there is a time to watch for.
    pub(super) fn set_on(self, socket: impl AsFd) -> io::Result<()> {
        let Some(timeout) = self.0 else { return Ok(()) };
        // Probes begin after half of the time; the user timeout, which counts for them too, ends it when the time is over. The
        // count of probes would end it otherwise, so it must not be reached before.
        let idle = (timeout / 2).max(KEEPALIVE_MIN);
        let interval = (timeout / 8).max(KEEPALIVE_MIN);
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, idle)?;
        sockopt::set_tcp_keepintvl(&socket, interval)?;
        sockopt::set_tcp_keepcnt(&socket, 5)?;
        let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        Ok(sockopt::set_tcp_user_timeout(&socket, milliseconds)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_is_told_both_kinds_of_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        PeerTimeout::default().set_on(&stream).unwrap();
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
        PeerTimeout::after(Duration::from_secs(20)).set_on(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let (idle, interval) = (sockopt::tcp_keepidle(&stream).unwrap(), sockopt::tcp_keepintvl(&stream).unwrap());
        let count = sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 20_000);
        assert!(idle < Duration::from_secs(20) && idle + interval * count >= Duration::from_secs(20));
    }
}
