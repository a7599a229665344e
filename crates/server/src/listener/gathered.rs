//! What a connection writes in one turn goes out in one piece.
//!
//! The HTTP library flushes an answer's head and body before its trailers, and one answer before
//! the next; each would be a TLS record, a system call and a wake-up of the other end. Here a flush does
//! nothing yet: once the connection can do no more for now, its loop sends what has gathered.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What gathers at most, bytes: the largest TLS record.
const GATHERED_MAX: usize = 16 * 1024;
/// What a connection with nothing to send may hold on to, bytes.
const KEPT_MAX: usize = 4 * 1024;

/// The same stream twice: for the HTTP library, and for whoever sends what that has written.
pub(super) fn gathered<S>(stream: S) -> (Gathered<S>, Sending<S>) {
    let shared = Arc::new(Mutex::new(Shared { stream, waiting: Vec::new(), sent: 0 }));
    (Gathered(Arc::clone(&shared)), Sending(shared))
}

pub(super) struct Gathered<S>(Arc<Mutex<Shared<S>>>);

pub(super) struct Sending<S>(Arc<Mutex<Shared<S>>>);

/// Only the connection's own task locks this.
struct Shared<S> {
    stream: S,
    waiting: Vec<u8>,
    /// How much of `waiting` the stream has taken.
    sent: usize,
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.waiting.len() + bytes > GATHERED_MAX {
            ready!(self.poll_drain(cx))?;
        }
        if bytes > GATHERED_MAX {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        parts.iter().for_each(|part| self.waiting.extend_from_slice(part));
        Poll::Ready(Ok(bytes))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_MAX);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Sending<S> {
    /// Sends what has gathered.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        ready!(shared.poll_flush(cx))?;
        Pin::new(&mut shared.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn read(other: &mut DuplexStream, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        other.read_exact(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn what_is_flushed_goes_out_when_it_is_sent_and_in_one_piece() {
        let (stream, mut other) = duplex(1024);
        let (mut gathered, sending) = gathered(stream);
        for part in ["head, ", "body, ", "trailers"] {
            gathered.write_all(part.as_bytes()).await.unwrap();
            gathered.flush().await.unwrap();
        }
        assert!(other.read_u8().now_or_never().is_none());
        poll_fn(|cx| sending.poll_send(cx)).await.unwrap();
        let mut piece = [0; 1024];
        let read = other.read(&mut piece).await.unwrap();
        assert_eq!(&piece[..read], b"head, body, trailers");
    }

    #[tokio::test]
    async fn no_more_gathers_than_may_and_the_order_stays() {
        let (stream, mut other) = duplex(4 * GATHERED_MAX);
        let (mut gathered, sending) = gathered(stream);
        gathered.write_all(&[1; 10]).await.unwrap();
        gathered.write_all(&[2; GATHERED_MAX]).await.unwrap();
        assert_eq!(read(&mut other, 10).await, [1; 10]);
        assert!(other.read_u8().now_or_never().is_none());
        gathered.write_all(&[3; 2 * GATHERED_MAX]).await.unwrap();
        assert_eq!(read(&mut other, GATHERED_MAX).await, [2; GATHERED_MAX]);
        assert_eq!(read(&mut other, 2 * GATHERED_MAX).await, [3; 2 * GATHERED_MAX]);
        poll_fn(|cx| sending.poll_send(cx)).await.unwrap();
        assert!(lock(&sending.0).waiting.capacity() <= KEPT_MAX);
    }

    #[tokio::test]
    async fn a_slow_reader_is_waited_for_and_a_shutdown_sends_the_rest() {
        let (stream, mut other) = duplex(8);
        let (mut gathered, sending) = gathered(stream);
        gathered.write_all(b"twice eight bytes").await.unwrap();
        assert!(poll_fn(|cx| sending.poll_send(cx)).now_or_never().is_none());
        let (shut, text) = tokio::join!(gathered.shutdown(), read(&mut other, 17));
        shut.unwrap();
        assert_eq!(text, b"twice eight bytes");
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0);
    }
}
