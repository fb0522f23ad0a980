//! A port and its connections: how many there may be, of whom, and how long each may take.
//!
//! A new connection is always taken. Where there are too many, that one is closed that has got on least: of the addresses that
//! have the most, or of the newcomer's own if that has its share. So nobody keeps others out by holding connections open. What
//! is limited in number, as scrapes are, keeps its connection.
//!
//! Must not know what is served.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Bytes of a request's head at most.
const HEAD: usize = 16 * 1024;
/// Bytes of an answer that the system holds for a slow reader, twice that with its own: they count as memory of the container.
const SEND_BUFFER: u32 = 32 * 1024;
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;
/// How long requests that are answered may go on when the program ends.
const DRAIN: Duration = Duration::from_millis(1000);
/// A reader that gets on takes at least so many bytes within the time that it has.
const PROGRESS: usize = 16 * 1024;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one client address.
    pub per_address: usize,
    /// How long a TLS handshake or a request's head may take, and how long a connection may idle.
    pub head: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
}

impl Limits {
    /// Of the listener for metrics, API and page.
    pub const MAIN: Self = Self {
        connections: 256,
        per_address: 128,
        head: Duration::from_secs(10),
        stall: Duration::from_secs(10),
    };
    /// Of the listener for probes: the kubelet asks one at a time.
    pub const PROBES: Self = Self {
        connections: 64,
        per_address: 16,
        head: Duration::from_secs(5),
        stall: Duration::from_secs(5),
    };
}

/// The client of a request: its address.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) IpAddr, Progress);

impl Client {
    /// For as long as this is held, the connection gives way to no other. Only for what is limited in number.
    pub(super) fn hold(&self) -> Held {
        self.1.held.fetch_add(1, Relaxed);
        Held(self.1.clone())
    }
}

/// See [`Client::hold`].
#[derive(Debug)]
pub(super) struct Held(Progress);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.note();
        self.0.held.fetch_sub(1, Relaxed);
    }
}

/// A port that is taken, or an address that is not ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", trouble(.error, .flag))]
pub struct BindError {
    address: SocketAddr,
    /// The flag that sets the address.
    flag: &'static str,
    error: io::Error,
}

fn trouble(error: &io::Error, flag: &str) -> String {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "another program is using the port; choose another port",
        io::ErrorKind::PermissionDenied => {
            "permission denied: ports below 1024 need privileges; choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address; choose another address",
        _ => return error.to_string(),
    };
    format!("{what} with {flag}")
}

/// A port that is ours, not served yet.
#[derive(Debug)]
pub struct Bound(TcpListener);

impl Bound {
    /// Takes the port. Every address of IPv6 are those of IPv4 as well, and those alone where there is no IPv6.
    pub fn to(address: SocketAddr, flag: &'static str) -> Result<Self, BindError> {
        use io::ErrorKind::{AddrInUse, PermissionDenied};
        let failed = match bind(address) {
            Ok(listener) => return Ok(Self(listener)),
            Err(error) => BindError { address, flag, error },
        };
        if address.ip() != Ipv6Addr::UNSPECIFIED
            || matches!(failed.error.kind(), AddrInUse | PermissionDenied)
        {
            return Err(failed);
        }
        bind((Ipv4Addr::UNSPECIFIED, address.port()).into()).map(Self).map_err(|_| failed)
    }

    /// Which one it is.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `stop`, and then for a moment what is being answered.
    pub async fn serve(
        self,
        router: Router,
        tls: Option<TlsAcceptor>,
        limits: Limits,
        stop: CancellationToken,
    ) {
        let table = Arc::new(Table { limits, began: Instant::now(), open: Mutex::default() });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.0.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: what is open must end first.
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let slot = table.admit(from.ip().to_canonical());
            connections.spawn(connection(stream, slot, router.clone(), tls.clone(), limits, stop.clone()));
            // What was closed for this one frees its memory before the next one comes.
            tokio::task::yield_now().await;
        }
        drop(self.0);
        let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    }

    /// Serves on a thread of its own, which nothing else in the process holds up. Ready when that thread has ended.
    pub fn serve_apart(
        self,
        router: Router,
        limits: Limits,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> {
        let (ended, end) = oneshot::channel::<Infallible>();
        let serve = move || -> io::Result<()> {
            let listener = self.0.into_std()?;
            // Made, and dropped again, where no other runtime is.
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                Self(TcpListener::from_std(listener)?).serve(router, None, limits, stop).await;
                Ok(())
            })
        };
        let failed = |error: &io::Error| tracing::error!(%error, "cannot serve the probes");
        let work = move || {
            let _ended = ended;
            let _ = serve().inspect_err(failed);
        };
        let thread = std::thread::Builder::new().name("probes".to_owned()).spawn(work);
        let _ = thread.inspect_err(failed);
        async {
            let _ = end.await;
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn connection(
    stream: TcpStream,
    slot: Slot,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    // What is closed here is gone: else the system holds what nobody has taken for minutes, and counts it in no limit of ours.
    let _ = stream.set_zero_linger();
    let stream = Paced::new(stream, limits.stall, slot.progress.clone());
    let client = Client(slot.address, slot.progress.clone());
    let work = async {
        match tls {
            None => serve(stream, router, client, limits, stop).await,
            Some(tls) => {
                // One that breaks, or speaks no TLS, is the client's affair.
                if let Ok(Ok(stream)) = timeout(limits.head, tls.accept(stream)).await {
                    serve(stream, router, client, limits, stop).await;
                }
            }
        }
    };
    tokio::select! {
        () = slot.close.cancelled() => {}
        () = work => {}
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    client: Client,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (router, client) = (router.clone(), client.clone());
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(client);
            let answer = router.oneshot(request).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    // A connection that breaks is the client's affair.
    tokio::select! {
        _ = &mut connection => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// When a connection last got on: it began, or its client took a part of an answer. Milliseconds since the listener began.
#[derive(Clone, Debug)]
struct Progress {
    began: Instant,
    last: Arc<AtomicU64>,
    /// How many answers keep it from giving way.
    held: Arc<AtomicUsize>,
}

impl Progress {
    fn note(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }
}

/// The open connections.
#[derive(Debug)]
struct Table {
    limits: Limits,
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_id: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    progress: Progress,
    close: CancellationToken,
}

impl Open {
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }

    /// The connection that must go before one of `newcomer` comes: the one that got on least among those of the addresses with the
    /// most, whichever of them that is.
    fn least(&self, newcomer: IpAddr, limits: &Limits) -> Option<u64> {
        let most = self.by_address.values().max().copied().unwrap_or_default();
        let of = |address: &IpAddr| self.by_address.get(address).copied().unwrap_or_default();
        let is_own = of(&newcomer) >= limits.per_address;
        if !is_own && self.by_id.len() < limits.connections {
            return None;
        }
        let may_go =
            |entry: &Entry| if is_own { entry.address == newcomer } else { of(&entry.address) >= most };
        let least = |may_go: &dyn Fn(&Entry) -> bool| {
            let idle = self
                .by_id
                .iter()
                .filter(|(_, entry)| entry.progress.held.load(Relaxed) == 0 && may_go(entry));
            idle.min_by_key(|(id, entry)| (entry.progress.last.load(Relaxed), **id)).map(|(id, _)| *id)
        };
        // Of addresses that have one each, some may have only one that is held.
        least(&may_go).or_else(|| least(&|_| true))
    }
}

impl Table {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Slot {
        let mut open = self.open();
        let least = open.least(address, &self.limits);
        if let Some(entry) = least.and_then(|id| open.remove(id)) {
            entry.close.cancel();
        }
        let progress = Progress { began: self.began, last: Arc::default(), held: Arc::default() };
        progress.note();
        let (id, close) = (open.next, CancellationToken::new());
        open.next += 1;
        *open.by_address.entry(address).or_default() += 1;
        open.by_id.insert(id, Entry { address, progress: progress.clone(), close: close.clone() });
        Slot { table: Arc::clone(self), id, address, progress, close }
    }
}

/// The place of one connection.
#[derive(Debug)]
struct Slot {
    table: Arc<Table>,
    id: u64,
    address: IpAddr,
    progress: Progress,
    /// It has to give way to another one.
    close: CancellationToken,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.open().remove(self.id);
    }
}

/// A stream that breaks when its reader takes too little of what is written for too long. Its shutdown waits as long for the
/// reader to close its side too, so that what the system has still to send keeps its place among the connections.
struct Paced {
    stream: TcpStream,
    stall: Duration,
    progress: Progress,
    /// Until when the reader must have taken something, once it has kept a write waiting.
    deadline: Pin<Box<Sleep>>,
    is_waiting: bool,
    taken: usize,
    is_shut: bool,
}

impl Paced {
    fn new(stream: TcpStream, stall: Duration, progress: Progress) -> Self {
        let deadline = Box::pin(tokio::time::sleep(stall));
        Self { stream, stall, progress, deadline, is_waiting: false, taken: 0, is_shut: false }
    }

    fn wrote(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= PROGRESS {
            self.taken = 0;
            self.is_waiting = false;
            self.progress.note();
        }
    }

    fn pending<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.taken = 0;
            let until = Instant::now() + self.stall;
            self.deadline.as_mut().reset(until);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.pending(context),
            Poll::Ready(written) => Poll::Ready(written.inspect(|bytes| self.wrote(*bytes))),
        }
    }

    /// Asked once all that there was has been written: the reader has kept up.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked within a shutdown as well, whose time goes on.
        if !self.is_shut {
            self.is_waiting = false;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
            self.is_waiting = false;
        }
        let mut room = [0; 1024];
        loop {
            // The time first: it runs for a client that goes on sending, too.
            if let Poll::Ready(over) = self.pending(context) {
                return Poll::Ready(over);
            }
            let mut rest = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                return Poll::Ready(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn table(connections: usize, per_address: usize) -> Arc<Table> {
        let limits = Limits { connections, per_address, ..Limits::MAIN };
        Arc::new(Table { limits, began: Instant::now(), open: Mutex::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_takes_the_place_of_the_one_that_got_on_least_of_the_address_with_the_most() {
        let table = table(4, 3);
        let mut slots = Vec::new();
        for last in [1, 1, 2, 1] {
            slots.push(table.admit(address(last)));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // The first one takes its answer; the others only wait.
        slots[0].progress.note();
        let of_others = table.admit(address(3));
        assert!(slots[1].close.is_cancelled(), "the oldest that waits, of the address with the most");
        // Here two addresses have two; the own share of 2 is not used up.
        let more: Vec<Slot> = (0..2).map(|_| table.admit(address(2))).collect();
        assert!(!of_others.close.is_cancelled() && !more[1].close.is_cancelled());
        assert_eq!(table.open().by_id.len(), 4);
        drop((slots, more, of_others));
        assert!(table.open().by_id.is_empty() && table.open().by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_addresses_with_one_each_the_oldest_gives_way_and_a_scrape_keeps_its_place() {
        let table = table(4, 3);
        let scrape = table.admit(address(1));
        let client = Client(scrape.address, scrape.progress.clone());
        let held = client.hold();
        let mut slots: Vec<Slot> = Vec::new();
        for last in (100..200).rev() {
            slots.push(table.admit(address(last)));
            tokio::time::advance(Duration::from_millis(10)).await;
            // Whatever the address is, the newest have their place.
            assert!(slots.iter().rev().take(3).all(|slot| !slot.close.is_cancelled()), "{last}");
        }
        assert!(!scrape.close.is_cancelled());
        let high = table.admit(address(255));
        let _next = table.admit(address(3));
        assert!(!high.close.is_cancelled());
        drop(held);
        tokio::time::advance(Duration::from_millis(10)).await;
        let _more: Vec<Slot> = (10..14).map(|last| table.admit(address(last))).collect();
        assert!(scrape.close.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_its_share_makes_room_among_its_own() {
        let table = table(100, 2);
        let other = table.admit(address(1));
        let slots: Vec<Slot> = (0..50).map(|_| table.admit(address(2))).collect();
        assert_eq!(slots.iter().filter(|slot| !slot.close.is_cancelled()).count(), 2);
        assert!(!other.close.is_cancelled() && !slots[49].close.is_cancelled());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn nothing_is_left_of_an_answer_that_nobody_takes() {
        use axum::routing::get;
        use tokio::io::AsyncWriteExt as _;

        /// Whether the system has something to send from this port.
        fn is_held(port: u16) -> bool {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            sockets.lines().any(|line| {
                let mut fields = line.split_whitespace();
                let local = fields.nth(1).unwrap_or_default();
                let queued = fields.nth(2).unwrap_or_default();
                local.ends_with(&format!(":{port:04X}")) && !queued.starts_with("00000000")
            })
        }

        async fn until(what: &str, is: impl Fn() -> bool) {
            let waits = async {
                while !is() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(5), waits).await.expect(what);
        }

        let bound = Bound::to((Ipv4Addr::LOCALHOST, 0).into(), "--listen").unwrap();
        let address = bound.address().unwrap();
        let router = Router::new().route("/", get(async || "a".repeat(16 << 10)));
        let limits = Limits { stall: Duration::from_millis(200), ..Limits::MAIN };
        tokio::spawn(bound.serve(router, None, limits, CancellationToken::new()));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        until("the answer waits for its reader", || is_held(address.port())).await;
        until("the answer is given up", || !is_held(address.port())).await;
    }
}
