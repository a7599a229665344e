//! Connections between nodes that can be cut and mended, each direction by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use conclave_replica::PeerDialer;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Which links are cut.
#[derive(Default)]
pub struct Links {
    isolated: Mutex<BTreeSet<u64>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
    /// Bytes written and connections tried, by who did and to whom.
    sent: Mutex<BTreeMap<(u64, u64), u64>>,
}

impl Links {
    pub fn isolate(&self, node: u64, isolated: bool) {
        set(&self.isolated, node, isolated);
    }

    pub fn cut(&self, from: u64, to: u64, cut: bool) {
        set(&self.cut, (from, to), cut);
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        let isolated = self.isolated.lock().unwrap();
        isolated.contains(&from)
            || isolated.contains(&to)
            || self.cut.lock().unwrap().contains(&(from, to))
    }

    /// How much one node has sent to another in calls of its own; a connection that it tried counts too.
    pub fn sent(&self, from: u64, to: u64) -> u64 {
        self.sent.lock().unwrap().get(&(from, to)).copied().unwrap_or_default()
    }

    fn note(&self, from: u64, to: u64, sent: usize) {
        *self.sent.lock().unwrap().entry((from, to)).or_default() += sent as u64;
    }

    pub fn dialer(self: &Arc<Self>, from: u64) -> Arc<dyn PeerDialer> {
        Arc::new(Dialer { links: self.clone(), from })
    }
}

fn set<T: Ord>(set: &Mutex<BTreeSet<T>>, value: T, present: bool) {
    let mut set = set.lock().unwrap();
    if present {
        set.insert(value);
    } else {
        set.remove(&value);
    }
}

struct Dialer {
    links: Arc<Links>,
    from: u64,
}

impl PeerDialer for Dialer {
    fn dial(&self, name: &str, addr: &str) -> Channel {
        let to: u64 = name.trim_start_matches("node-").parse().unwrap();
        let (links, from) = (self.links.clone(), self.from);
        let connector = tower::service_fn(move |uri: Uri| {
            let links = links.clone();
            async move {
                links.note(from, to, 1);
                if links.is_cut(from, to) {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                let tcp = TcpStream::connect(uri.authority().unwrap().as_str()).await?;
                tcp.set_nodelay(true)?;
                let mended = Box::pin(tokio::time::sleep(POLL));
                Ok(TokioIo::new(Link { tcp, links, from, to, mended }))
            }
        });
        Endpoint::from_shared(format!("http://{addr}"))
            .unwrap()
            .connect_timeout(Duration::from_secs(2))
            .connect_with_connector_lazy(connector)
    }
}

const POLL: Duration = Duration::from_millis(20);

/// A connection that breaks soon after its link is cut.
struct Link {
    tcp: TcpStream,
    links: Arc<Links>,
    from: u64,
    to: u64,
    mended: Pin<Box<tokio::time::Sleep>>,
}

impl Link {
    /// An error once the link is cut; else sees to it that it is looked at again.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.links.is_cut(self.from, self.to) {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        while self.mended.as_mut().poll(cx).is_ready() {
            self.mended.as_mut().reset(tokio::time::Instant::now() + POLL);
        }
        Ok(())
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.links.is_cut(self.from, self.to) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            self.links.note(self.from, self.to, bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
