//! Reading the files at a start: the last durable snapshot names a step that must be there and on
//! the chain; what lies beyond is cut away, because replay writes it again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use conclave_audit::segment::{HEADER_LEN, Header, Reader, parse_header};
use conclave_audit::{DomainId, Hash, Head, check_step};

use super::{ChainEnd, Segment, SegmentsError, path_of};
use crate::disk::{FileError, OnFile, sync_dir};

/// The segments up to `keep`, after everything beyond it is gone, durably. Of all but the last only
/// the header was read.
pub(super) fn cut_back(
    dir: &Path,
    domain: DomainId,
    keep: ChainEnd,
) -> Result<Vec<Segment>, SegmentsError> {
    let mut files = files(dir)?;
    let mut segments = by_headers(&mut files, domain, keep)?;
    let mut at = ChainEnd { size: 0, hash: Head::genesis(&domain).hash };
    if let Some(Segment { number, first, .. }) = segments.pop() {
        let path = path_of(dir, number);
        // What the step before the first one hashes to, scrubbing finds out.
        let before = (first == 0).then_some(at.hash);
        let header = Header { number, first_index: first, domain };
        let (segment, end) = scan(&path, header, before, keep.size)?;
        at = end.unwrap_or(at);
        cut_file(&path, segment.bytes)?;
        segments.push(segment);
    }
    if at != keep {
        let (dir, found, named) = (dir.to_owned(), at.size, keep.size);
        return Err(SegmentsError::Differs { dir, found, named });
    }
    for path in files.into_values() {
        fs::remove_file(&path).on(&path)?;
    }
    sync_dir(dir).on(dir)?;
    Ok(segments)
}

/// Takes out the files that begin before `keep`, as their headers have it.
fn by_headers(
    files: &mut BTreeMap<u64, PathBuf>,
    domain: DomainId,
    keep: ChainEnd,
) -> Result<Vec<Segment>, SegmentsError> {
    let mut segments: Vec<Segment> = Vec::new();
    loop {
        let number = segments.len() as u64 + 1;
        let Some(path) = files.get(&number) else { return Ok(segments) };
        let mut head = Vec::new();
        let file = File::open(path).on(path)?;
        let bytes = file.metadata().on(path)?.len();
        file.take(HEADER_LEN as u64).read_to_end(&mut head).on(path)?;
        let header = match parse_header(&head) {
            Ok(header) => header,
            // It may have been cut short as it was begun; if it was needed, the end will differ.
            Err(_) if !segments.is_empty() => return Ok(segments),
            Err(_) if keep.size == 0 => return Ok(segments),
            Err(source) => return Err(SegmentsError::Header { file: path.clone(), source }),
        };
        let least = segments.last().map_or(0, |last| last.first + 1);
        let begins = header.first_index >= least && (number > 1 || header.first_index == 0);
        if header.number != number || header.domain != domain || !begins {
            return Err(SegmentsError::Misplaced { file: path.clone() });
        }
        if header.first_index >= keep.size {
            return Ok(segments);
        }
        if let Some(last) = segments.last_mut() {
            last.end = header.first_index;
        }
        files.remove(&number);
        segments.push(Segment { bytes, ..Segment::new(number, header.first_index) });
    }
}

fn files(dir: &Path) -> Result<BTreeMap<u64, PathBuf>, FileError> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).on(dir)? {
        let path = entry.on(dir)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        if let (true, Ok(number)) = (is_segment, u64::from_str_radix(stem, 16)) {
            files.insert(number, path);
        }
    }
    Ok(files)
}

/// Reads one file's steps before number `until`, and where their chain ends; `None` if there are
/// none. `before` is the hash that the first one follows; without it that one's own is taken.
pub(super) fn scan(
    path: &Path,
    expected: Header,
    mut before: Option<Hash>,
    until: u64,
) -> Result<(Segment, Option<ChainEnd>), SegmentsError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).on(path)?;
    let file = || path.to_owned();
    let header =
        parse_header(&bytes).map_err(|source| SegmentsError::Header { file: file(), source })?;
    if header != expected {
        return Err(SegmentsError::Misplaced { file: file() });
    }
    let mut segment = Segment::new(header.number, header.first_index);
    let mut reader = Reader::resume(&bytes[HEADER_LEN..], HEADER_LEN as u64, header.first_index);
    while segment.end < until {
        let offset = reader.offset();
        let frame =
            reader.next_frame().map_err(|source| SegmentsError::Frame { file: file(), source })?;
        let Some(frame) = frame else { break };
        let hash = match before {
            Some(before) => check_step(&before, segment.end, &frame.step)
                .map_err(|source| SegmentsError::Chain { file: file(), offset, source })?,
            // The reader gives only steps with a hash of this length.
            None => Hash::try_from(frame.step.hash.as_slice()).unwrap_or_default(),
        };
        before = Some(hash);
        segment.count(frame.end);
    }
    let end = before.filter(|_| segment.end > segment.first);
    let end = end.map(|hash| ChainEnd { size: segment.end, hash });
    Ok((segment, end))
}

fn cut_file(path: &Path, bytes: u64) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).open(path).on(path)?;
    file.set_len(bytes).on(path)?;
    file.sync_all().on(path)
}
