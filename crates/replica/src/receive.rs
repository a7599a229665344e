//! Receiving a snapshot from the leader: the file first, then the audit steps that lead to it, and
//! only then openraft.
//!
//! Everything that may fail because of the network happens here, before openraft hears of the
//! snapshot, so that a leader that vanishes midway costs a retry and not the node.

use std::sync::Arc;

use conclave_proto::peer::FetchStepsRequest;
use conclave_proto::raft::{SnapshotChunk, SnapshotResponse, SnapshotStart, snapshot_chunk::Part};
use tonic::{Status, Streaming};

use crate::codec;
use crate::core::Core;
use crate::malformed::malformed;
use crate::segments::ChainEnd;
use crate::snapshot::{Arrived, SNAPSHOT_BYTES_MAX, SnapshotError, StagedSteps, StepStager};
use crate::types::{PeerNode, RaftId};

pub(crate) async fn snapshot(
    core: &Arc<Core>,
    mut chunks: Streaming<SnapshotChunk>,
) -> Result<SnapshotResponse, Status> {
    let Ok(one_at_a_time) = core.receiving.clone().try_lock_owned() else {
        return Err(Status::unavailable("this node is receiving a snapshot already"));
    };
    let start = match chunks.message().await? {
        Some(SnapshotChunk { part: Some(Part::Start(start)) }) => start,
        _ => return Err(Status::invalid_argument("a snapshot begins with its description")),
    };
    let vote = codec::require_vote(start.vote.as_ref(), "SnapshotStart.vote").map_err(malformed)?;
    let arrived = file(core, &start, chunks).await?;
    let steps = steps(core, vote.leader_id.node_id, &arrived).await?;
    let snapshot = arrived.with_steps(steps).map_err(failed)?;
    // It goes on if the sender hangs up, and nobody may write to its file until it has ended.
    let raft = core.raft.clone();
    let installing = tokio::spawn(async move {
        let answer = raft.install_full_snapshot(vote, snapshot).await;
        drop(one_at_a_time);
        answer
    });
    let answer = installing.await.map_err(|error| Status::internal(error.to_string()))?;
    let answer = answer.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
    Ok(SnapshotResponse { vote: Some(codec::vote_to_proto(&answer.vote)) })
}

async fn file(
    core: &Core,
    start: &SnapshotStart,
    mut chunks: Streaming<SnapshotChunk>,
) -> Result<Arrived, Status> {
    if start.bytes > SNAPSHOT_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {} bytes is larger than {SNAPSHOT_BYTES_MAX}",
            start.bytes
        )));
    }
    let mut receiving = core.snapshots.receive().map_err(failed)?;
    while let Some(chunk) = chunks.message().await? {
        let Some(Part::Data(data)) = chunk.part else {
            return Err(Status::invalid_argument("a snapshot has one description, then data"));
        };
        if receiving.bytes() + data.len() as u64 > start.bytes {
            return Err(Status::invalid_argument("the snapshot is longer than announced"));
        }
        receiving.write(&data).map_err(failed)?;
    }
    if receiving.bytes() != start.bytes {
        return Err(Status::aborted("the snapshot was cut short"));
    }
    let store = core.snapshots.clone();
    let arrived = tokio::task::spawn_blocking(move || store.arrived(receiving)).await;
    let arrived = arrived.map_err(|error| Status::internal(error.to_string()))?.map_err(failed)?;
    let meta = start.meta.as_ref().ok_or_else(|| Status::invalid_argument("no metadata"))?;
    let meta = codec::snapshot_meta_from_proto(meta).map_err(malformed)?;
    if arrived.sha256().as_slice() != start.sha256.as_ref() || *arrived.meta() != meta {
        return Err(Status::invalid_argument("the snapshot is not the one announced"));
    }
    Ok(arrived)
}

/// Fetches what the audit history here lacks: from the sender, then from whoever else has it.
async fn steps(
    core: &Arc<Core>,
    sender: RaftId,
    snapshot: &Arrived,
) -> Result<StagedSteps, Status> {
    let target = snapshot.chain_end;
    let from = core.applied.read(|content| ChainEnd {
        size: content.state.head().size,
        hash: content.state.head().hash,
    });
    if from.size > target.size {
        return Err(Status::failed_precondition("this node has applied more than the snapshot"));
    }
    let mut stager = StepStager::create(&core.snapshots, from, target).map_err(failed)?;
    // Those the snapshot names: a new learner knows of nobody else.
    let members = snapshot.meta().last_membership.membership();
    let (first, others): (Vec<_>, Vec<_>) =
        members.nodes().filter(|(id, _)| **id != core.own_id()).partition(|(id, _)| **id == sender);
    let mut last = Status::unavailable("nobody has the audit steps that this snapshot needs");
    for (member, node) in first.into_iter().chain(others) {
        if stager.missing().0 == stager.missing().1 {
            break;
        }
        if let Err(status) = fetch(core, *member, node, &mut stager).await {
            tracing::warn!(member, %status, "audit steps could not be fetched");
            last = status;
        }
    }
    if stager.missing().0 < stager.missing().1 {
        return Err(last);
    }
    stager.finish().map_err(failed)
}

async fn fetch(
    core: &Core,
    member: RaftId,
    node: &PeerNode,
    stager: &mut StepStager,
) -> Result<(), Status> {
    let mut client = core.peers.client(member, node)?;
    let (first, end) = stager.missing();
    let mut answers = client.fetch_steps(FetchStepsRequest { first, end }).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        for step in &answer.steps {
            stager.take(step).map_err(failed)?;
        }
    }
    Ok(())
}

fn failed(error: SnapshotError) -> Status {
    tracing::error!(%error, "a snapshot cannot be received");
    Status::internal(error.to_string())
}
