//! Files: snapshots, audit segments, a node's folder.

use conclave_audit::segment::{Header, Reader, encode_frame, encode_header};
use conclave_proto::audit::Step;
use conclave_proto::seal;
use conclave_proto::store::{Checkpoint, Command, SnapshotItem, command::Op};
use conclave_store::{MemoryStore, Restorer, State, View};
use prost::Message;

use super::{choose, chosen, message, scratch, scratch_folder};
use crate::Target;
use crate::stage::{DOMAIN, NOW_MS, STAGE, enrolment};

pub(super) const SNAPSHOT_FILE: Target =
    Target { name: "snapshot_file", run: snapshot_file, valid: snapshot_files, brief: 9_000 };

pub(super) const AUDIT_SEGMENT: Target =
    Target { name: "audit_segment", run: audit_segment, valid: audit_segments, brief: 12_000 };

pub(super) const NODE_FOLDER: Target =
    Target { name: "node_folder", run: node_folder, valid: node_folders, brief: 4_000 };

/// A whole file; or its items alone, framed here with the checksums that belong there.
fn snapshot_file(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let framed;
    let file = match which % 2 {
        0 => bytes,
        _ => {
            framed = in_frames(&payloads(bytes));
            &framed
        }
    };
    let file = scratch(file);
    let mut restorer = Some(Restorer::new(DOMAIN.0));
    let mut blobs = std::collections::BTreeMap::new();
    let read = conclave_replica::fuzzing::snapshot_items(file.path(), |item| {
        let pushed = restorer.as_mut().map(|restorer| restorer.push(item));
        match pushed {
            Some(Ok(blob)) => {
                blobs.extend(blob);
                true
            }
            _ => {
                restorer = None;
                false
            }
        }
    });
    let (Ok(()), Some(restorer)) = (read, restorer) else { return false };
    let raft = restorer.raft().map(<[u8]>::to_vec).unwrap_or_default();
    let Ok(mut state) = restorer.finish() else { return false };
    state.validate();
    let blob = |id: &_| blobs.get(id).cloned().ok_or(());
    let items: Result<Vec<_>, _> = state.snapshot_items(raft, blob).collect();
    let mut again = Restorer::new(DOMAIN.0);
    for item in items.expect("what was restored can be written") {
        again.push(item).expect("what was written is restored");
    }
    let mut again = again.finish().expect("what was written is restored");
    assert_eq!(again.state_digest(), state.state_digest());
    goes_on(&mut state);
    true
}

/// A state that was taken must be able to apply what comes next.
fn goes_on(state: &mut State) {
    for command in [super::raft::batch(), checkpoint()] {
        let Some(next) = state.applied().0.checked_add(1) else { return };
        let applied = state.apply(next, &command);
        assert!(applied.is_ok(), "{:?}", applied.err());
        state.validate();
    }
}

fn checkpoint() -> Command {
    Command {
        feature_level: 1,
        time_ms: NOW_MS,
        op: Some(Op::Checkpoint(Checkpoint { raft_id: 1 })),
    }
}

/// Payloads out of any bytes: each has its length, of two bytes, before it.
fn payloads(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        payloads.push(payload);
        bytes = rest;
    }
    payloads
}

fn with_lengths<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let with_length = |payload: &[u8]| [&(payload.len() as u16).to_be_bytes(), payload].concat();
    payloads.into_iter().flat_map(with_length).collect()
}

fn in_frames(payloads: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    for payload in payloads {
        file.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        file.extend_from_slice(&crc32c::crc32c(payload).to_be_bytes());
        file.extend_from_slice(payload);
    }
    let digest = conclave_crypto::sha256(&[&file]);
    file.extend_from_slice(&digest);
    file
}

fn snapshot_files() -> Vec<Vec<u8>> {
    let items_of = |store: &MemoryStore| -> Vec<Vec<u8>> {
        let raft = super::raft::valid_snapshot_meta().encode_to_vec();
        let blob = |id: &_| store.blob(id).ok().flatten().map(|blob| blob.to_vec()).ok_or(());
        let items = store.state().snapshot_items(raft, blob);
        items.map_while(Result::ok).map(|item: SnapshotItem| item.encode_to_vec()).collect()
    };
    let mut busy = STAGE.store.clone();
    let _ = busy.apply(&super::raft::batch());
    let (busy, empty) = (items_of(&busy), items_of(&MemoryStore::new(DOMAIN.0)));
    let slices: Vec<&[u8]> = busy.iter().map(Vec::as_slice).collect();
    vec![
        chosen(0, &in_frames(&slices)),
        chosen(1, &with_lengths(slices)),
        chosen(1, &with_lengths(empty.iter().map(Vec::as_slice))),
    ]
}

/// A whole segment; or a header's numbers and steps, framed here.
fn audit_segment(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let framed;
    let file = match which % 2 {
        0 => bytes,
        _ => {
            framed = as_segment(bytes);
            &framed
        }
    };
    let Ok((header, mut reader)) = Reader::open(file) else { return false };
    assert!(file.starts_with(&encode_header(&header)));
    let mut at = reader.offset() as usize;
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                let end = frame.end as usize;
                assert!(encode_frame(&frame.step) == file[at..end], "a step has two frames");
                at = end;
            }
            Ok(None) => {
                assert_eq!(at, file.len());
                return true;
            }
            Err(fault) => {
                assert_eq!(reader.next_frame(), Err(fault));
                return false;
            }
        }
    }
}

fn as_segment(bytes: &[u8]) -> Vec<u8> {
    let number = |at: usize| {
        bytes.get(at..at + 8).and_then(|n| n.try_into().ok()).map_or(0, u64::from_be_bytes)
    };
    let header = Header { number: number(0), first_index: number(8), domain: DOMAIN.0 };
    let mut file = encode_header(&header).to_vec();
    for payload in payloads(bytes.get(16..).unwrap_or_default()) {
        match message::<Step>(payload) {
            Some(step) if step.encoded_len() <= conclave_audit::segment::MAX_PAYLOAD => {
                file.extend_from_slice(&encode_frame(&step));
            }
            _ => file.extend_from_slice(payload),
        }
    }
    file
}

fn audit_segments() -> Vec<Vec<u8>> {
    let steps = STAGE.store.steps();
    let header = Header { number: 1, first_index: 0, domain: DOMAIN.0 };
    let frames: Vec<u8> = steps.iter().flat_map(encode_frame).collect();
    let encoded: Vec<Vec<u8>> = steps.iter().map(Message::encode_to_vec).collect();
    let numbers = [1_u64.to_be_bytes(), 0_u64.to_be_bytes()].concat();
    let payloads = with_lengths(encoded.iter().map(Vec::as_slice));
    vec![
        chosen(0, &[encode_header(&header).as_slice(), &frames].concat()),
        chosen(1, &[numbers, payloads].concat()),
    ]
}

/// The small files of a data folder, each with its length before it.
fn node_folder(input: &[u8]) -> bool {
    let folder = tempfile::tempdir_in(scratch_folder()).expect("a scratch folder");
    let domain = folder.path().join("domains").join("07".repeat(16));
    std::fs::create_dir_all(domain.join("shares")).expect("a folder can be made");
    let files = payloads(input);
    let paths =
        [folder.path().join("enrolment"), domain.join("identity"), domain.join("shares").join("1")];
    for (path, bytes) in paths.iter().zip(&files) {
        std::fs::write(path, bytes).expect("a file can be written");
    }
    let first = conclave_server::fuzzing::folder(folder.path());
    assert_eq!(first, conclave_server::fuzzing::folder(folder.path()), "a start changed it");
    first
}

fn node_folders() -> Vec<Vec<u8>> {
    let enrolment =
        seal::Enrolment { format: 1, private_key: enrolment(1).to_secret().expose().to_vec() };
    let identity = seal::NodeIdentity {
        format: 1,
        domain_id: DOMAIN.0.to_vec(),
        raft_id: 1,
        name: "n1".to_owned(),
    };
    let share = super::records::wrapped_share();
    let files = [enrolment.encode_to_vec(), identity.encode_to_vec(), share];
    vec![with_lengths(files.iter().map(Vec::as_slice))]
}
