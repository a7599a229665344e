//! Reading the files at a start: everything that the last durable snapshot names must be there and
//! on the chain; what lies beyond is cut away, because replay writes it again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use conclave_audit::segment::{HEADER_LEN, Header, Reader, parse_header};
use conclave_audit::{DomainId, Head, check_step};

use super::{ChainEnd, Segment, SegmentsError, path_of};
use crate::disk::{FileError, OnFile, sync_dir};

/// The segments up to `keep`, after everything beyond it is gone, durably.
pub(super) fn cut_back(
    dir: &Path,
    domain: DomainId,
    keep: ChainEnd,
) -> Result<Vec<Segment>, SegmentsError> {
    let mut files = files(dir)?;
    let mut at = ChainEnd { size: 0, hash: Head::genesis(&domain).hash };
    let mut segments = Vec::new();
    while at.size < keep.size {
        let number = segments.len() as u64 + 1;
        let Some(path) = files.remove(&number) else { break };
        let (segment, end) =
            scan(&path, Header { number, first_index: at.size, domain }, at, keep)?;
        if end == at {
            break;
        }
        at = end;
        segments.push(segment);
    }
    if at != keep {
        return Err(SegmentsError::Differs {
            dir: dir.to_owned(),
            found: at.size,
            named: keep.size,
        });
    }
    if let Some(last) = segments.last() {
        cut_file(&path_of(dir, last.number), last.bytes)?;
    }
    for path in files.into_values() {
        fs::remove_file(&path).on(&path)?;
    }
    sync_dir(dir).on(dir)?;
    Ok(segments)
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

/// Reads one file's steps after `at`, none beyond `keep`.
fn scan(
    path: &Path,
    expected: Header,
    mut at: ChainEnd,
    keep: ChainEnd,
) -> Result<(Segment, ChainEnd), SegmentsError> {
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
    while at.size < keep.size {
        let offset = reader.offset();
        let frame =
            reader.next_frame().map_err(|source| SegmentsError::Frame { file: file(), source })?;
        let Some(frame) = frame else { break };
        at.hash = check_step(&at.hash, at.size, &frame.step)
            .map_err(|source| SegmentsError::Chain { file: file(), offset, source })?;
        at.size += 1;
        segment.count(frame.end);
    }
    Ok((segment, at))
}

fn cut_file(path: &Path, bytes: u64) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).open(path).on(path)?;
    file.set_len(bytes).on(path)?;
    file.sync_all().on(path)
}
