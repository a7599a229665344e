//! How steps lie in a segment file: a header, then frames.
//!
//! ```text
//! header  "CONCLAVA" ‖ format u8 ‖ number u64 ‖ first index u64 ‖ domain id [16] ‖ crc32c u32
//! frame   length u32 ‖ crc32c(payload) u32 ‖ payload (a Step, at most 65 KiB)
//! ```
//! Integers are big-endian; the header's checksum is over all bytes before it.
//!
//! A write that was cut short leaves a *torn* end, after which nothing is readable. A frame that
//! cannot be read although readable ones follow is *damage*. Only the newest segment, and only
//! above what the last durable snapshot names, may be torn; the replica, which knows that
//! position, takes a torn end anywhere else for damage too. Checksums find accidents; that
//! nobody rewrote a file on purpose is for the chain to show, so steps are checked against it as well.

use conclave_proto::audit::Step;
use prost::Message;

use crate::DomainId;
use crate::chain::{MAX_SEALED, MAX_SIZE, StepData};

/// The first bytes of every segment file.
pub const MAGIC: [u8; 8] = *b"CONCLAVA";

/// The format that this version writes, and the only one so far.
pub const FORMAT: u8 = 1;

/// Bytes of the header; where the first frame begins.
pub const HEADER_LEN: usize = 8 + 1 + 8 + 8 + 16 + 4;

/// Bytes of a frame besides its payload.
pub const FRAME_OVERHEAD: usize = 4 + 4;

/// Most bytes of a payload: the sealed entry and, generously, the step's own fields.
pub const MAX_PAYLOAD: usize = MAX_SEALED + 1024;

/// How often each byte after an unreadable frame may be summed, all in all, in the search for readable
/// ones; and how many bytes in any case, since a short end can have a long false length or two.
const LOOKS_PER_BYTE: usize = 8;
const LOOKS_MIN: usize = 64 * MAX_PAYLOAD;

/// What a segment file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its place among the segments.
    pub number: u64,
    /// Index of its first step.
    pub first_index: u64,
    /// The domain whose log this is.
    pub domain: DomainId,
}

/// The bytes that a segment file begins with.
pub fn encode_header(header: &Header) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = FORMAT;
    bytes[9..17].copy_from_slice(&header.number.to_be_bytes());
    bytes[17..25].copy_from_slice(&header.first_index.to_be_bytes());
    bytes[25..41].copy_from_slice(&header.domain);
    let crc = crc32c::crc32c(&bytes[..41]);
    bytes[41..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads a header from the beginning of a segment file.
///
/// # Errors
/// [`HeaderFault`].
pub fn parse_header(file: &[u8]) -> Result<Header, HeaderFault> {
    let Some(bytes) = file.first_chunk::<HEADER_LEN>() else { return Err(HeaderFault::Torn) };
    if file.iter().all(|byte| *byte == 0) {
        return Err(HeaderFault::Torn);
    }
    if bytes[..8] != MAGIC {
        return Err(HeaderFault::Magic);
    }
    if be_u32(&bytes[41..]) != crc32c::crc32c(&bytes[..41]) {
        return Err(HeaderFault::Checksum);
    }
    if bytes[8] != FORMAT {
        return Err(HeaderFault::Format { found: bytes[8] });
    }
    let mut domain = [0; 16];
    domain.copy_from_slice(&bytes[25..41]);
    Ok(Header { number: be_u64(&bytes[9..17]), first_index: be_u64(&bytes[17..25]), domain })
}

/// The bytes to append for `step`.
pub fn encode_frame(step: &Step) -> Vec<u8> {
    let payload = step.encode_to_vec();
    debug_assert!(payload.len() <= MAX_PAYLOAD, "a step that was checked fits a frame");
    let mut frame = Vec::with_capacity(FRAME_OVERHEAD + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// Reads frame after frame. On a file that still grows, remember where the last frame ended and
/// [`Reader::resume`] there.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: u64,
    next_index: u64,
}

/// A step, and where in its file the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The step. Its hash has not been checked.
    pub step: Step,
    /// Offset of the byte after this frame, from the beginning of the file.
    pub end: u64,
}

impl<'a> Reader<'a> {
    /// Begins a segment file.
    ///
    /// # Errors
    /// [`HeaderFault`] if its header cannot be read.
    pub fn open(file: &'a [u8]) -> Result<(Header, Self), HeaderFault> {
        let header = parse_header(file)?;
        let rest = &file[HEADER_LEN..];
        Ok((header, Self::resume(rest, HEADER_LEN as u64, header.first_index)))
    }

    /// Goes on at `offset` of the file, where `rest` begins with the frame of step `next_index`.
    pub fn resume(rest: &'a [u8], offset: u64, next_index: u64) -> Self {
        Self { rest, offset, next_index }
    }

    /// Where the next frame begins, from the beginning of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next step; `None` at a clean end of the file.
    ///
    /// # Errors
    /// [`Fault`]. The reader stays where it was: asked again, it says the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (offset, index) = (self.offset, self.next_index);
        let damage = |reason| Fault::Damage { offset, index, reason };
        let payload = match frame_payload(self.rest) {
            Ok(payload) => payload,
            Err(reason) if readable_after(&self.rest[1..], index) => return Err(damage(reason)),
            Err(_) => return Err(Fault::Torn { offset, index }),
        };
        let step = decode_step(payload).ok_or(damage(Reason::NotAStep))?;
        if step.index != index {
            return Err(damage(Reason::Index { found: step.index }));
        }
        let used = FRAME_OVERHEAD + payload.len();
        self.rest = &self.rest[used..];
        self.offset += used as u64;
        self.next_index += 1;
        Ok(Some(Frame { step, end: self.offset }))
    }
}

fn frame_payload(bytes: &[u8]) -> Result<&[u8], Reason> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_OVERHEAD) else {
        return Err(Reason::Short);
    };
    let len = be_u32(&head[..4]) as usize;
    if len == 0 || len > MAX_PAYLOAD {
        return Err(Reason::Length { found: len as u32 });
    }
    let payload = rest.get(..len).ok_or(Reason::Short)?;
    match be_u32(&head[4..]) == crc32c::crc32c(payload) {
        true => Ok(payload),
        false => Err(Reason::Checksum),
    }
}

/// A well-formed step in its canonical encoding, at an index that a chain can reach: one more
/// always is a number.
fn decode_step(payload: &[u8]) -> Option<Step> {
    let step = Step::decode(payload).ok()?;
    let sound =
        step.hash.len() == 32 && step.index < MAX_SIZE && StepData::from_proto(&step).is_ok();
    (sound && step.encode_to_vec() == payload).then_some(step)
}

/// Whether a frame of a later step stands anywhere in `bytes`; also if that took too much work to find
/// out. It looks only once a frame could not be read.
///
/// Any four bytes that read as a length have up to [`MAX_PAYLOAD`] bytes summed. Zeroes and what is
/// left of sealed entries hold few such: only bytes that somebody chose come to more than
/// [`LOOKS_PER_BYTE`], and whoever chose them did not merely cut a write short.
fn readable_after(bytes: &[u8], index: u64) -> bool {
    let mut left = LOOKS_MIN + LOOKS_PER_BYTE * bytes.len();
    for start in 0..bytes.len() {
        let found = frame_payload(&bytes[start..]);
        if matches!(found, Ok(payload) if decode_step(payload).is_some_and(|step| step.index > index))
        {
            return true;
        }
        if matches!(found, Ok(_) | Err(Reason::Checksum)) {
            let summed = be_u32(&bytes[start..start + 4]) as usize;
            let Some(rest) = left.checked_sub(summed) else { return true };
            left = rest;
        }
    }
    false
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Why a segment's header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not all of it was written: the file is too short, or nothing but zeroes.
    #[error("the segment's header was not written to its end")]
    Torn,
    /// Another kind of file, or a damaged one.
    #[error("this is not an audit segment: it does not begin with CONCLAVA")]
    Magic,
    /// A damaged header.
    #[error("the segment's header is damaged: its checksum does not match")]
    Checksum,
    /// Written by another version.
    #[error("the segment has format {found}, this version reads {FORMAT}; use a newer version")]
    Format {
        /// The format found.
        found: u8,
    },
}

/// Why the next frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The last write was cut short: the file ends, readably, at `offset`.
    #[error("the segment ends in a torn frame at byte {offset}, where step {index} would stand")]
    Torn {
        /// Where to cut.
        offset: u64,
        /// The step that would have stood there.
        index: u64,
    },
    /// Not what was written.
    #[error("the segment is damaged at byte {offset}, where step {index} should stand: {reason}")]
    Damage {
        /// Where the frame begins.
        offset: u64,
        /// The step that should stand there.
        index: u64,
        /// What is wrong with it.
        reason: Reason,
    },
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It claims more bytes than there are.
    #[error("the frame goes beyond the end of the file")]
    Short,
    /// Its length is nobody's.
    #[error("no frame has {found} bytes")]
    Length {
        /// The length found.
        found: u32,
    },
    /// Its payload is not what was written.
    #[error("the checksum does not match")]
    Checksum,
    /// Its payload is no well-formed step.
    #[error("the payload is not a step")]
    NotAStep,
    /// A whole frame, but another step's.
    #[error("step {found} stands there instead")]
    Index {
        /// The index found.
        found: u64,
    },
}
