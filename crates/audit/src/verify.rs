//! Checks an export, or a stream of steps, with nothing but the audit key that the auditor had
//! before and, better still, sizes and hashes noted earlier.
//!
//! What a good report proves: these are all entries of the log up to the checkpoint, as the domain
//! signed them. It cannot prove that nothing came after; an [`Expectation`] noted elsewhere
//! (another export, a client's own log) can show that something did.

use std::fmt;
use std::str::FromStr;

use conclave_proto::v1::ExportedStep;

use crate::checkpoint::{Checkpoint, Origin};
use crate::entry;
use crate::export::{Header, Line, LineError, MAX_LINE, Step};
use crate::note::VerifierKey;
use crate::{Hash, Head};

mod finding;
mod report;

pub use finding::Finding;
pub use report::Report;

/// Something known about a log from elsewhere: at `size` entries its tree root, or its chain's
/// hash, was `hash`. Written `SIZE:HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expectation {
    /// How many entries.
    pub size: u64,
    /// RFC 6962 root or chain hash at that size. Taking either opens no door, since the two are
    /// hashes of inputs that begin differently.
    pub hash: Hash,
}

impl FromStr for Expectation {
    type Err = ExpectationError;

    fn from_str(text: &str) -> Result<Self, ExpectationError> {
        let (size, digits) = text.split_once(':').ok_or(ExpectationError)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| ExpectationError)?;
        let parsed = Self { size: size.parse().map_err(|_| ExpectationError)?, hash };
        if parsed.to_string() == text { Ok(parsed) } else { Err(ExpectationError) }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, hex::encode(self.hash))
    }
}

/// Not an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected SIZE:HASH, a number of entries and 64 lower-case hex digits")]
pub struct ExpectationError;

/// Takes an export piece by piece and says, at the first wrong byte, what is wrong.
pub struct Verifier {
    key: Option<VerifierKey>,
    expected: Vec<Expectation>,
    stage: Stage,
    /// The beginning of a line whose end has not come yet; never more than [`MAX_LINE`].
    partial: Vec<u8>,
    /// Lines taken so far.
    lines: u64,
    finding: Option<Finding>,
}

enum Stage {
    Header,
    Steps(Walk),
    Done(Box<Report>),
}

impl Verifier {
    /// A verifier that trusts `audit_key` and whatever is `expected`. Without a key everything else
    /// is still checked, but the checkpoint then is a finding.
    pub fn new(audit_key: Option<VerifierKey>, mut expected: Vec<Expectation>) -> Self {
        expected.sort_unstable();
        Self {
            key: audit_key,
            expected,
            stage: Stage::Header,
            partial: Vec::new(),
            lines: 0,
            finding: None,
        }
    }

    /// Takes the next bytes of an export file: a line with its newline, or any other piece.
    ///
    /// # Errors
    /// The first [`Finding`], from then on again and again.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        self.once(|verifier| {
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                if verifier.partial.len() + piece.len() > MAX_LINE {
                    return Err(verifier.bad_line(LineError::TooLong));
                }
                verifier.partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    let line = std::mem::take(&mut verifier.partial);
                    verifier.line(&line)?;
                }
            }
            Ok(())
        })
    }

    /// Begins a stream of steps that is not a file: which log the caller asked for.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn push_header(&mut self, header: &Header) -> Result<(), Finding> {
        self.once(|verifier| verifier.header(header))
    }

    /// Takes the next step as a node sent it.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn push_step(&mut self, step: &ExportedStep) -> Result<(), Finding> {
        self.once(|verifier| {
            let step = Step::try_from(step);
            let step = step.map_err(|why| Finding::Step { index: verifier.size(), why })?;
            verifier.step(&step)
        })
    }

    /// Takes the checkpoint at the end.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn push_checkpoint(&mut self, note: &str) -> Result<(), Finding> {
        self.once(|verifier| verifier.checkpoint(note))
    }

    /// What was proven, once everything has been pushed.
    ///
    /// # Errors
    /// The first [`Finding`], one of which is that the end is missing.
    pub fn finish(self) -> Result<Report, Finding> {
        if let Some(finding) = self.finding {
            return Err(finding);
        }
        match self.stage {
            Stage::Done(_) if !self.partial.is_empty() => Err(Finding::Trailing),
            Stage::Done(report) => Ok(*report),
            Stage::Header => Err(Finding::NoHeader),
            Stage::Steps(walk) => {
                walk.all_met()?;
                Err(Finding::NoCheckpoint { size: walk.head.size })
            }
        }
    }

    fn once(&mut self, take: impl FnOnce(&mut Self) -> Result<(), Finding>) -> Result<(), Finding> {
        if let Some(finding) = &self.finding {
            return Err(finding.clone());
        }
        take(self).inspect_err(|finding| self.finding = Some(finding.clone()))
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        if matches!(self.stage, Stage::Done(_)) {
            return Err(Finding::Trailing);
        }
        let line = Line::parse(bytes).map_err(|why| self.bad_line(why))?;
        self.lines += 1;
        match line {
            Line::Header(header) => self.header(&header),
            Line::Step(step) => self.step(&step),
            Line::Checkpoint(note) => self.checkpoint(&note),
        }
    }

    fn bad_line(&self, why: LineError) -> Finding {
        match self.stage {
            Stage::Header => Finding::Header { why },
            Stage::Steps(_) => Finding::Line { line: self.lines + 1, index: self.size(), why },
            Stage::Done(_) => Finding::Trailing,
        }
    }

    fn size(&self) -> u64 {
        match &self.stage {
            Stage::Header => 0,
            Stage::Steps(walk) => walk.head.size,
            Stage::Done(report) => report.checkpoint.size,
        }
    }

    fn header(&mut self, header: &Header) -> Result<(), Finding> {
        if !matches!(self.stage, Stage::Header) {
            return Err(Finding::SecondHeader { index: self.size() });
        }
        let origin = header.audit_key.name().parse::<Origin>().map_err(|_| Finding::Origin)?;
        match &self.key {
            Some(key) if *key != header.audit_key => {
                return Err(Finding::OtherKey {
                    given: key.clone(),
                    named: header.audit_key.clone(),
                });
            }
            _ => {}
        }
        let walk = Walk::new(origin, Head::genesis(&header.domain), self.expected.clone())?;
        self.stage = Stage::Steps(walk);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Finding> {
        match &mut self.stage {
            Stage::Header => Err(Finding::NoHeader),
            Stage::Steps(walk) => walk.step(step),
            Stage::Done(_) => Err(Finding::Trailing),
        }
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), Finding> {
        let walk = match &self.stage {
            Stage::Header => return Err(Finding::NoHeader),
            Stage::Steps(walk) => walk,
            Stage::Done(_) => return Err(Finding::Trailing),
        };
        let key = self.key.as_ref().ok_or(Finding::NoKey)?;
        let report = walk.end(note, key)?;
        self.stage = Stage::Done(Box::new(report));
        Ok(())
    }
}

/// What has been walked of the chain, and what comes next.
struct Walk {
    origin: Origin,
    head: Head,
    first_ms: Option<u64>,
    last_ms: Option<u64>,
    /// Log index and position of the last step.
    revision: Option<(u64, u32)>,
    /// Sorted by size; the first `met` of them hold.
    expected: Vec<Expectation>,
    met: usize,
}

impl Walk {
    fn new(origin: Origin, head: Head, expected: Vec<Expectation>) -> Result<Self, Finding> {
        let (first_ms, last_ms, revision) = (None, None, None);
        let mut walk = Self { origin, head, first_ms, last_ms, revision, expected, met: 0 };
        walk.meet()?;
        Ok(walk)
    }

    fn step(&mut self, step: &Step) -> Result<(), Finding> {
        let (index, data) = (self.head.size, &step.data);
        if step.index != index {
            return Err(Finding::Sequence { index, found: step.index });
        }
        if let Some(before) = self.last_ms
            && data.time_ms < before
        {
            return Err(Finding::Time { index });
        }
        let revision = (data.log_index, data.position);
        if self.revision.is_some_and(|before| revision <= before) {
            return Err(Finding::Revision { index });
        }
        if entry::commitment(&step.salt, &entry::encode_entry(&step.entry)) != data.commitment {
            return Err(Finding::Commitment { index });
        }
        if self.head.append(data) != step.hash {
            return Err(Finding::Chain { index });
        }
        self.first_ms.get_or_insert(data.time_ms);
        self.last_ms = Some(data.time_ms);
        self.revision = Some(revision);
        self.meet()
    }

    /// Holds the log, at its present size, to what is expected of it there.
    fn meet(&mut self) -> Result<(), Finding> {
        while let Some(expected) = self.expected.get(self.met) {
            if expected.size != self.head.size {
                break;
            }
            if expected.hash != self.head.hash && expected.hash != self.head.root() {
                return Err(Finding::Expected { expected: *expected, root: self.head.root() });
            }
            self.met += 1;
        }
        Ok(())
    }

    fn all_met(&self) -> Result<(), Finding> {
        match self.expected.last().filter(|_| self.met < self.expected.len()) {
            Some(last) => Err(Finding::Truncated { expected: last.size, size: self.head.size }),
            None => Ok(()),
        }
    }

    fn end(&self, note: &str, key: &VerifierKey) -> Result<Report, Finding> {
        self.all_met()?;
        let size = self.head.size;
        let checkpoint = Checkpoint::verify(note, key);
        let checkpoint = checkpoint.map_err(|why| Finding::CheckpointSignature { why })?;
        if checkpoint.origin != self.origin {
            return Err(Finding::Origin);
        }
        if checkpoint.size != size {
            return Err(Finding::CheckpointSize { signed: checkpoint.size, size });
        }
        if checkpoint.root != self.head.root() {
            return Err(Finding::CheckpointRoot { size });
        }
        if checkpoint.head != self.head.hash {
            return Err(Finding::CheckpointHead { size });
        }
        Ok(Report {
            checkpoint,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            signed_by: key.clone(),
            expectations_met: self.met,
        })
    }
}
