//! What the leader does for everyone: stamps and appends commands, and confirms that it leads.

use std::sync::Arc;
use std::time::Instant;

use conclave_proto::peer::{
    self, NotLeader, ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse,
    propose_request, propose_response, read_index_response,
};
use conclave_proto::store::{self as proto, command};
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use prost::Message;

use crate::core::Core;
use crate::types::{ApplyReply, Command, RaftId, Types};

/// Why the leader did not, or may not have, put something into the log.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// This node does not lead; who does, or 0.
    NotLeader(RaftId),
    /// Nothing was appended, or it is not known: ask again.
    Unavailable(String),
}

/// A command that was applied.
pub(crate) struct Led {
    pub(crate) log_index: u64,
    pub(crate) reply: ApplyReply,
}

impl Core {
    /// Stamps a command, puts it through Raft and gives back what applying it said.
    pub(crate) async fn lead(&self, op: command::Op) -> Result<Led, Refusal> {
        let _passing = self.gate.read().await;
        let command = self.stamped(op)?;
        self.counters.appends.one();
        match self.raft.client_write(command).await {
            Ok(written) => Ok(Led { log_index: written.log_id.index, reply: written.data }),
            Err(error) => Err(refusal(error)),
        }
    }

    /// A command as it enters the log: with cluster time, checked to be one that replicas apply.
    pub(crate) fn stamped(&self, op: command::Op) -> Result<Command, Refusal> {
        let metrics = self.metrics();
        if !metrics.state.is_leader() {
            return Err(Refusal::NotLeader(metrics.current_leader.unwrap_or(0)));
        }
        let configs = metrics.membership_config.get_joint_config();
        let Some(time_ms) = self.clock.stamp(self.own_id(), configs, Instant::now()) else {
            self.counters.clock_refusals.one();
            return Err(Refusal::Unavailable("a majority's clocks were not heard lately".into()));
        };
        let feature_level = self.applied.read(|content| content.state.feature_level());
        let command = proto::Command { feature_level, time_ms, op: Some(op) };
        conclave_store::check_command(&command)
            .map_err(|fatal| Refusal::Unavailable(fatal.to_string()))?;
        Ok(Command(command.encode_to_vec().into()))
    }

    pub(crate) async fn answer_propose(&self, request: ProposeRequest) -> ProposeResponse {
        use propose_response::Result;
        let op = match request.op {
            Some(propose_request::Op::Batch(batch)) => Some(command::Op::Batch(batch)),
            Some(propose_request::Op::RegisterWriter(it)) => Some(command::Op::RegisterWriter(it)),
            Some(propose_request::Op::Checkpoint(it)) => Some(command::Op::Checkpoint(it)),
            None => None,
        };
        let result = match op {
            None => {
                Err(Refusal::Unavailable("this node does not know the proposed operation".into()))
            }
            Some(op) => self.lead(op).await,
        };
        let result = match result {
            Ok(Led { log_index, reply: ApplyReply { time_ms, outcomes } }) => {
                Result::Applied(peer::Applied { log_index, time_ms, outcomes })
            }
            Err(Refusal::NotLeader(leader)) => Result::NotLeader(NotLeader { leader }),
            Err(Refusal::Unavailable(why)) => Result::Unavailable(why),
        };
        ProposeResponse { result: Some(result) }
    }

    pub(crate) async fn answer_read_index(
        self: &Arc<Self>,
        _: ReadIndexRequest,
    ) -> ReadIndexResponse {
        use read_index_response::Result;
        let result = match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Result::LogIndex(read.log_id().index),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Result::NotLeader(NotLeader { leader: forward.leader_id.unwrap_or(0) })
            }
            Err(error) => Result::Unavailable(error.to_string()),
        };
        ReadIndexResponse { result: Some(result) }
    }
}

fn refusal(error: RaftError<Types, ClientWriteError<Types>>) -> Refusal {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Refusal::NotLeader(forward.leader_id.unwrap_or(0))
        }
        error => Refusal::Unavailable(error.to_string()),
    }
}
