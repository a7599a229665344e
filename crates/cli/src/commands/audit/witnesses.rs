//! What the nodes themselves say of the chain, held against an export.

use std::{collections::BTreeMap, time::Duration};

use conclave_audit::Hash;
use conclave_client::{Client, ClientError, Endpoint};
use conclave_proto::v1::{AuditHeadRequest, NodeStatus};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{app::App, error::CliError, output::table};

/// A node that is down must not hold up the others' testimony.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// One node's testimony.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    node: String,
    voter: bool,
    /// How far its chain reaches and what its hash is there; `None` if it did not answer.
    pub(super) head: Option<ClaimedHead>,
    /// Why it did not answer.
    silence: String,
}

/// A size of the chain and its hash there, as a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClaimedHead {
    pub(super) size: u64,
    hash: Hash,
}

/// Asks every node for its newest head, or for the one at `size`. In the order of `nodes`.
pub(super) async fn ask(
    app: &App,
    nodes: &[NodeStatus],
    size: Option<u64>,
) -> Result<Vec<Witness>, CliError> {
    let mut asked = JoinSet::new();
    let mut witnesses = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let mut witness = Witness {
            node: node.id.clone(),
            voter: node.role == "voter",
            head: None,
            silence: "its API address is not known; it is down or cut off".to_owned(),
        };
        if let Ok(endpoint) = node.api.parse::<Endpoint>() {
            let client = app.client_of(vec![endpoint])?.at_first().with_timeout(ANSWER_MAX);
            let name = node.id.clone();
            witness.silence = "it was not asked to the end".to_owned();
            asked.spawn(async move { (number, head(&client, &name, size).await) });
        }
        witnesses.push(witness);
    }
    while let Some(done) = asked.join_next().await {
        let Ok((number, answer)) = done else { continue };
        match answer {
            Ok(head) => witnesses[number].head = Some(head),
            Err(silence) => witnesses[number].silence = silence,
        }
    }
    Ok(witnesses)
}

async fn head(client: &Client, name: &str, size: Option<u64>) -> Result<ClaimedHead, String> {
    let request = AuditHeadRequest { at_size: size.is_some(), size: size.unwrap_or_default() };
    let said = client.head(request).await.map_err(|error| match error {
        ClientError::Unreachable { failures, .. } => {
            failures.into_iter().map(|failure| failure.message).collect()
        }
        error => error.to_string(),
    })?;
    if said.value.node != name {
        return Err(format!("{} answered at its address", said.value.node));
    }
    let hash = said.value.hash.as_slice().try_into().map_err(|_| "its hash is not 32 bytes")?;
    Ok(ClaimedHead { size: said.value.size, hash })
}

/// Fewer voters than a majority can neither confirm the log nor let it be read.
pub(super) fn check_majority_answers(witnesses: &[Witness]) -> Result<(), CliError> {
    let voters = witnesses.iter().filter(|witness| witness.voter).count();
    let answering = witnesses.iter().filter(|w| w.voter && w.head.is_some()).count();
    if answering * 2 > voters {
        return Ok(());
    }
    Err(CliError::NoMajority(format!(
        "only {answering} of {voters} voters answer, which is no majority; start the others (see \
         `conclave status`) and verify again"
    )))
}

/// What the testimonies come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) voters: usize,
    /// Voters that hold the log as it was exported, each as far as it has it.
    pub(super) agreeing: usize,
    /// A majority of the voters holds this many entries at least; 0 without a majority.
    pub(super) agreed_size: u64,
    /// Nodes that hold something else.
    disagreeing: Vec<String>,
}

impl Verdict {
    /// Holds each testimony against the chain's hash at its size.
    pub(super) fn of(witnesses: &[Witness], hashes: &BTreeMap<u64, Hash>) -> Self {
        let agrees = |head: &ClaimedHead| hashes.get(&head.size) == Some(&head.hash);
        let mut sizes: Vec<u64> = witnesses
            .iter()
            .filter(|witness| witness.voter)
            .filter_map(|witness| witness.head.filter(agrees).map(|head| head.size))
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let voters = witnesses.iter().filter(|witness| witness.voter).count();
        let disagreeing = witnesses
            .iter()
            .filter(|witness| witness.head.is_some_and(|head| !agrees(&head)))
            .map(|witness| witness.node.clone())
            .collect();
        Self {
            voters,
            agreeing: sizes.len(),
            agreed_size: sizes.get(voters / 2).copied().unwrap_or_default(),
            disagreeing,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.disagreeing.is_empty() && self.agreeing > self.voters / 2
    }

    pub(super) fn into_result(self) -> Result<(), CliError> {
        if !self.disagreeing.is_empty() {
            return Err(CliError::Disagreement(format!(
                "{} {} another audit log than the one exported; stop it, keep its disk for \
                 examination, and admit it anew with an empty data folder",
                self.disagreeing.join(", "),
                if self.disagreeing.len() == 1 { "holds" } else { "hold" },
            )));
        }
        if !self.holds() {
            return Err(CliError::NoMajority(format!(
                "only {} of {} voters confirmed the log, which is no majority; start the others \
                 (see `conclave status`) and verify again",
                self.agreeing, self.voters
            )));
        }
        Ok(())
    }
}

impl Witness {
    pub(super) fn to_json(&self, verdict: &Verdict) -> Value {
        let agrees = self.head.map(|_| !verdict.disagreeing.contains(&self.node));
        json!({
            "id": self.node,
            "voter": self.voter,
            "size": self.head.map(|head| head.size),
            "hash": self.head.map(|head| hex::encode(head.hash)),
            "agrees": agrees,
            "detail": if self.head.is_some() { "" } else { self.silence.as_str() },
        })
    }
}

pub(super) fn to_table(witnesses: &[Witness], verdict: &Verdict) -> comfy_table::Table {
    let rows = witnesses.iter().map(|witness| {
        let (size, says) = match witness.head {
            None => ("-".to_owned(), format!("no answer: {}", witness.silence)),
            Some(head) if verdict.disagreeing.contains(&witness.node) => {
                (head.size.to_string(), "DISAGREES".to_owned())
            }
            Some(head) => (head.size.to_string(), "agrees".to_owned()),
        };
        let role = if witness.voter { "voter" } else { "no voter" };
        [witness.node.clone(), role.to_owned(), size, says]
    });
    table(["NODE", "ROLE", "SIZE", "SAYS"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(node: &str, voter: bool, head: Option<(u64, u8)>) -> Witness {
        let head = head.map(|(size, byte)| ClaimedHead { size, hash: [byte; 32] });
        Witness { node: node.to_owned(), voter, head, silence: String::new() }
    }

    /// The true chain: at each size the hash is that number, repeated.
    fn verdict(witnesses: &[Witness]) -> Verdict {
        Verdict::of(witnesses, &(0..=9).map(|size| (size, [size as u8; 32])).collect())
    }

    #[test]
    fn each_node_is_held_to_its_own_size_and_a_majority_must_answer() {
        let [one, two, down] = [
            witness("n1", true, Some((9, 9))),
            witness("n2", true, Some((7, 7))),
            witness("n3", true, None),
        ];
        let all = verdict(&[one.clone(), two, down.clone()]);
        assert_eq!((all.voters, all.agreeing, all.agreed_size), (3, 2, 7));
        assert!(all.holds());

        let learner = witness("n4", false, Some((9, 9)));
        let few = verdict(&[one, down.clone(), down, learner]);
        assert!(!few.holds(), "learners make no majority");
        assert!(few.into_result().unwrap_err().to_string().contains("1 of 3 voters"));
        assert!(!verdict(&[]).holds(), "nobody is no majority");
    }

    #[test]
    fn one_node_that_disagrees_is_named_and_fails_the_log() {
        let said = [
            witness("n1", true, Some((9, 9))),
            witness("n2", true, Some((9, 9))),
            witness("n3", false, Some((5, 6))),
        ];
        let verdict = verdict(&said);
        assert!(!verdict.holds());
        assert_eq!(said[2].to_json(&verdict)["agrees"], json!(false));
        assert!(verdict.into_result().unwrap_err().to_string().starts_with("n3 holds another"));
    }

    #[test]
    fn a_size_that_the_export_does_not_reach_agrees_with_nothing() {
        assert!(!verdict(&[witness("n1", true, Some((10, 10)))]).holds());
    }
}
