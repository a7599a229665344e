//! What keeps one connection from waiting on its other end for ever.
//!
//! Every way in which the other end can make this one wait sets a [`Deadline`], and clears it when
//! it moves on: greeting, sending a request's body, taking an answer, reading from its socket. The
//! connection's own loop looks at them now and then and cuts the connection when one has passed.
//! No timer runs per request. HTTP/2 pings, which are the HTTP library's, find the rest: an end that is
//! gone, or stuck within a frame.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The HTTP/2 preface and the head of the SETTINGS frame that follows it (RFC 9113 section 3.4).
const GREETING_BYTES: u64 = 24 + 9;

/// How long the other end may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To greet, once the handshake is over.
    pub(crate) greeting: Duration,
    /// To send the whole body of a request; none where requests are streams.
    pub(crate) body: Option<Duration>,
    /// To take the next part of an answer, and to read what was written to its socket.
    pub(crate) stall: Duration,
}

/// The open waits of one connection.
pub(crate) struct Watched {
    began: Instant,
    patience: Patience,
    greeting: Deadline,
    greeted: AtomicU64,
    writing: Deadline,
    requests: Mutex<Slab<Arc<Deadline>>>,
}

/// Milliseconds since the connection began; 0: not waiting.
#[derive(Debug, Default)]
struct Deadline(AtomicU64);

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Greeting,
    Reading,
    Request,
}

impl Watched {
    pub(crate) fn new(patience: Patience, is_http_2: bool) -> Arc<Self> {
        let watched = Self {
            began: Instant::now(),
            patience,
            greeting: Deadline::default(),
            greeted: AtomicU64::new(0),
            writing: Deadline::default(),
            requests: Mutex::default(),
        };
        // HTTP/1 has a time limit for heads, the first as any other.
        if is_http_2 {
            watched.set(&watched.greeting, patience.greeting);
        }
        Arc::new(watched)
    }

    /// What the other end should have done by now and has not.
    pub(crate) fn overdue(&self) -> Option<Overdue> {
        let now = self.now_ms();
        if self.greeting.has_passed(now) {
            return Some(Overdue::Greeting);
        }
        if self.writing.has_passed(now) {
            return Some(Overdue::Reading);
        }
        let late = self.requests().iter().any(|(_, request)| request.has_passed(now));
        late.then_some(Overdue::Request)
    }

    /// A request's head has arrived.
    pub(crate) fn request(self: &Arc<Self>, body: Incoming) -> (WatchedRequest, Open) {
        let deadline = Arc::new(Deadline::default());
        let key = self.requests().insert(Arc::clone(&deadline));
        let is_answered = AtomicBool::new(false);
        let open =
            Open(Arc::new(OpenInner { watched: Arc::clone(self), deadline, is_answered, key }));
        if let Some(limit) = self.patience.body
            && !body.is_end_stream()
        {
            self.set(&open.0.deadline, limit);
        }
        (WatchedRequest { inner: body, open: open.clone() }, open)
    }

    fn requests(&self) -> MutexGuard<'_, Slab<Arc<Deadline>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn set(&self, deadline: &Deadline, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        deadline.0.store(self.now_ms().saturating_add(after).max(1), Ordering::Relaxed);
    }
}

impl Deadline {
    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn has_passed(&self, now_ms: u64) -> bool {
        let deadline = self.0.load(Ordering::Relaxed);
        deadline != 0 && deadline < now_ms
    }
}

/// A request that is being read, worked on or answered; forgotten when its last part is dropped.
#[derive(Clone)]
pub(crate) struct Open(Arc<OpenInner>);

struct OpenInner {
    watched: Arc<Watched>,
    deadline: Arc<Deadline>,
    is_answered: AtomicBool,
    key: usize,
}

impl Open {
    /// The answer is on its way.
    pub(crate) fn answer(self, body: Body) -> WatchedAnswer {
        self.0.is_answered.store(true, Ordering::Relaxed);
        self.0.watched.set(&self.0.deadline, self.0.watched.patience.stall);
        WatchedAnswer { inner: body, open: self }
    }
}

impl Drop for OpenInner {
    fn drop(&mut self) {
        self.watched.requests().try_remove(self.key);
    }
}

/// A request's body: its deadline ends when it has arrived or nobody wants more of it.
pub(crate) struct WatchedRequest {
    inner: Incoming,
    open: Open,
}

impl WatchedRequest {
    fn done(&self) {
        // An answer that is under way has a deadline of its own.
        if !self.open.0.is_answered.load(Ordering::Relaxed) {
            self.open.0.deadline.clear();
        }
    }
}

impl HttpBody for WatchedRequest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.done();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for WatchedRequest {
    fn drop(&mut self) {
        self.done();
    }
}

/// An answer's body. The HTTP library asks for the next part once it has room for it, so it is the other
/// end's turn from a part given until the next is asked for, and ours while none is there.
pub(crate) struct WatchedAnswer {
    inner: Body,
    open: Open,
}

impl HttpBody for WatchedAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let open = &self.open.0;
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                open.watched.set(&open.deadline, open.watched.patience.stall)
            }
            Poll::Ready(_) | Poll::Pending => open.deadline.clear(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The connection's bytes, after TLS.
pub(crate) struct WatchedStream<S> {
    inner: S,
    watched: Arc<Watched>,
}

impl<S> WatchedStream<S> {
    pub(crate) fn new(inner: S, watched: &Arc<Watched>) -> Self {
        Self { inner, watched: Arc::clone(watched) }
    }

    /// Notes whether the other end makes this one wait before it can write more.
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        let writing = &self.watched.writing;
        match &polled {
            Poll::Ready(_) => writing.clear(),
            Poll::Pending if !writing.is_set() => {
                self.watched.set(writing, self.watched.patience.stall);
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if self.watched.greeting.is_set() {
            let read = (buffer.filled().len() - before) as u64;
            if self.watched.greeted.fetch_add(read, Ordering::Relaxed) + read >= GREETING_BYTES {
                self.watched.greeting.clear();
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
