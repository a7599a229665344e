//! Ports for nodes on loopback that stay theirs while they are down.
//!
//! They lie outside the range from which the kernel gives ports to connections going out, so none of
//! those takes one while its node is stopped. A claim keeps other clusters off: an abstract socket
//! named after the port, which ends with the process that holds it, however that ends. The tests'
//! harness includes this file for the nodes that it adds itself.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Where Linux keeps the range of ports for connections going out.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// That range as Linux has it, where the file cannot be read.
pub(super) const EPHEMERAL_DEFAULT: Range<u32> = 32_768..61_000;
/// Below this are ports that daemons are known by.
const FIRST: u32 = 10_000;
/// One more than the highest port.
const END: u32 = 1 << 16;
/// Fewer ports than this are no choice.
const ENOUGH: u32 = 1_000;

/// Ports, claimed as long as this is there.
pub(crate) struct Ports {
    /// All different.
    pub(crate) numbers: Vec<u16>,
    _claims: Vec<UnixListener>,
}

impl Ports {
    /// Ports that nobody listens at and nobody has claimed.
    ///
    /// # Errors
    /// If there are not so many.
    pub(crate) fn claim(count: usize) -> io::Result<Self> {
        let ephemeral = std::fs::read_to_string(EPHEMERAL).ok();
        let ephemeral = ephemeral.and_then(|text| parse(&text)).unwrap_or(EPHEMERAL_DEFAULT);
        Self::claim_in(lasting(&ephemeral), count)
    }

    pub(super) fn claim_in(range: Range<u32>, count: usize) -> io::Result<Self> {
        // From a random place on: who starts at the same time rarely meets.
        let span = range.end - range.start;
        let begin = (RandomState::new().hash_one(()) % u64::from(span)) as u32;
        let ports = (0..span).map(|step| range.start + (begin + step) % span);
        let free = ports.filter_map(|port| u16::try_from(port).ok()).filter_map(|port| {
            let claim = claim(port).ok()?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            Some((port, claim))
        });
        let (numbers, claims): (Vec<_>, Vec<_>) = free.take(count).unzip();
        if numbers.len() < count {
            let message = format!("fewer than {count} ports from {} on are free", range.start);
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        Ok(Self { numbers, _claims: claims })
    }
}

fn claim(port: u16) -> io::Result<UnixListener> {
    let name = format!("conclave-dev/{port}");
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// The ports that the kernel gives to nobody who has not asked for them: below those that it gives, or
/// above if there is no room.
pub(super) fn lasting(ephemeral: &Range<u32>) -> Range<u32> {
    if ephemeral.start >= FIRST + ENOUGH {
        FIRST..ephemeral.start
    } else if ephemeral.end + ENOUGH <= END {
        ephemeral.end.max(FIRST)..END
    } else {
        // It gives nearly all of them: the lower ones are as good as any.
        FIRST..END
    }
}

/// First and last, in decimal.
pub(super) fn parse(text: &str) -> Option<Range<u32>> {
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u16>().ok());
    let (first, last) = (numbers.next()??, numbers.next()??);
    (first <= last).then(|| u32::from(first)..u32::from(last) + 1)
}
