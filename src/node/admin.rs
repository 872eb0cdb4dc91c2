use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::http::{Request, Response, serve};
use super::{Health, Reporter};
use crate::metrics;

/// Requests served at once. A scrape takes milliseconds; more would only be peers that do not read or write.
const WORKERS: usize = 4;
/// Connections that wait for a worker; a further one is closed at once.
const WAITING_MAX: usize = 16;
/// A request, from its first byte to the last of its answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a shard may take to report. A turn of its loop is a millisecond or so.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// The address of the admin endpoint, taken before the node starts, so that a start that fails for it has touched nothing.
#[derive(Debug)]
pub struct AdminListener {
    listener: TcpListener,
    address: SocketAddr,
}

/// The admin endpoint of a running node: `/metrics`, `/status` and `/healthz` over HTTP, on threads of its own. Dropping it
/// closes the address.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    /// Its end ends the thread.
    stop: Option<UnixStream>,
}

impl AdminListener {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer for a node.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(self, reporter: Reporter) -> io::Result<Admin> {
        let Self { listener, address } = self;
        let (work, waiting) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for worker in 0..WORKERS {
            let (waiting, reporter) = (waiting.clone(), reporter.clone());
            // It ends with the channel, after the request that it is at.
            Builder::new().name(format!("naxos-admin-{worker}")).spawn(move || work_off(&waiting, &reporter))?;
        }
        let (stop, stopped) = UnixStream::pair()?;
        let thread = Builder::new().name("naxos-admin".to_owned()).spawn(move || accept(&listener, &stopped, &work))?;
        Ok(Admin { address, thread: Some(thread), stop: Some(stop) })
    }
}

impl Admin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the admin endpoint had panicked");
        }
    }
}

/// Accepts until the other end of `stopped` is closed.
fn accept(listener: &TcpListener, stopped: &UnixStream, work: &SyncSender<TcpStream>) {
    loop {
        let mut watched = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return tracing::error!(%error, "the admin endpoint has ended"),
        }
        if !watched[1].revents().is_empty() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => match stream.set_nonblocking(false).map(|()| work.try_send(stream)) {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(TrySendError::Full(_))) => tracing::debug!("the admin endpoint has too many connections"),
                Ok(Err(TrySendError::Disconnected(_))) => return,
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => {
                // Out of descriptors, mostly; the connection stays queued, and asking again at once would spin.
                tracing::warn!(%error, "the admin endpoint cannot accept a connection");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn work_off(waiting: &Mutex<Receiver<TcpStream>>, reporter: &Reporter) {
    loop {
        let next = match waiting.lock() {
            Ok(waiting) => waiting.recv(),
            Err(_) => return,
        };
        let Ok(stream) = next else { return };
        if let Err(error) = serve(stream, REQUEST_TIME, |request| answer(request, reporter)) {
            tracing::debug!(%error, "a request to the admin endpoint came to nothing");
        }
    }
}

const OK: (u16, &str) = (200, "OK");
const UNAVAILABLE: (u16, &str) = (503, "Service Unavailable");

fn answer(request: &Request, reporter: &Reporter) -> Response {
    match request.path.as_str() {
        "/metrics" => Response {
            status: OK,
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            body: metrics::encode(&reporter.report(REPORT_TIME)),
        },
        "/status" => Response {
            status: OK,
            content_type: "application/json",
            body: format!("{}\n", reporter.report(REPORT_TIME)),
        },
        "/healthz" => health(&Health::of(&reporter.report(REPORT_TIME))),
        "/" => Response::text(OK, "naxos: /metrics /status /healthz\n"),
        _ => Response::text((404, "Not Found"), "there are /metrics, /status and /healthz\n"),
    }
}

fn health(health: &Health) -> Response {
    match health {
        Health::Ready => Response::text(OK, "ready\n"),
        Health::Poisoned(shards) => {
            let lines = shards.iter().map(|(shard, reason)| format!("shard {shard}: {reason}\n"));
            Response::text(UNAVAILABLE, format!("poisoned\n{}", lines.collect::<String>()))
        }
        Health::Unresponsive(shards) => {
            Response::text(UNAVAILABLE, format!("unresponsive\nshards that do not answer: {shards:?}\n"))
        }
    }
}
