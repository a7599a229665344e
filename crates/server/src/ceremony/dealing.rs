//! Dealing a new root key: the steps that a change of members, a rotation of the root key and a
//! re-dealing to the operators have in common.
//!
//! A number is reserved → every member that answers stores its share → the change is committed:
//! complete if all have stored theirs, else pending. Whatever breaks off before that last entry has
//! changed nothing but an epoch number. What happens to those who were away is in `tending`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::SystemEntropy;
use conclave_kms::{Admin, AdminAction, Caller, Refusal, Request};
use conclave_proto::peer::NodeStatusRequest;
use conclave_proto::record::{Admissions, DomainKeys, Member, Members};
use conclave_replica::MembersError;
use conclave_seal::dealing::{self, NewOperators, PlanError};
use conclave_seal::members::recipients_with_seals;
use conclave_seal::{
    Dealing, EpochNumber, Ground, Keyring, OperatorKeyRecord, RaftId, SealKind, SealState,
    ShareEpochs,
};
use conclave_store::{GuardDigest, Kind, RecordId, Revision, View, Write, member_change};
use futures::future::join_all;
use prost::Message;
use tonic::Status;
use tracing::{info, warn};

use crate::audited::Happened;
use crate::hosted::Hosted;
use crate::meta::{invalid, precondition, unavailable};
use crate::node::Node;
use crate::peer;
use crate::staircase::perform;

/// How long one step may take.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a member may take to say how it stands.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one may take to store its share, which a slow HSM may have to wrap; whoever takes longer
/// is given it again later.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);
/// Dealings begun because the one before was overtaken, the first included. Domain keys are rotated and
/// members acknowledge now and then: beyond this something is amiss.
const DEALINGS_MAX: u32 = 3;

/// The guards of a txn, by record.
pub(crate) type Guards = BTreeMap<RecordId, Option<GuardDigest>>;

/// An operator's order, as it is carried out step by step.
pub(crate) struct Order<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) hosted: &'a Arc<Hosted>,
    pub(crate) caller: &'a Caller,
    pub(crate) action: AdminAction,
}

/// Who is dealt to, and what else changes with it.
pub(crate) struct Change {
    /// The members that are dealt to.
    pub(crate) members: Members,
    /// The members record that this was worked out from. Another change in between makes this one
    /// conflict.
    pub(crate) members_read: Option<GuardDigest>,
    /// Whether the voters change with it.
    pub(crate) changes_voters: bool,
    /// Members without whose acknowledgement nothing is committed: those that come in.
    pub(crate) must_store: Vec<RaftId>,
    /// Whether whoever has not acknowledged is left out, to enrol anew.
    pub(crate) left_out: bool,
    /// A new operator key to go with it.
    pub(crate) operators: Option<NewOperators>,
}

impl Change {
    /// A dealing to the members there are.
    pub(crate) fn of_no_member(members: Members, members_read: Option<GuardDigest>) -> Self {
        Self {
            members,
            members_read,
            changes_voters: false,
            must_store: Vec::new(),
            left_out: false,
            operators: None,
        }
    }
}

impl Order<'_> {
    /// Commits one step: authorised as the operator's, audited, with its writes.
    ///
    /// # Errors
    /// [`NotDone::Overtaken`] if a guard does not hold any more; that is audited, too.
    pub(crate) async fn record(
        &self,
        guards: Guards,
        writes: Vec<Write>,
        parameters: &[(&'static str, String)],
        resources: &[&str],
    ) -> Result<Revision, NotDone> {
        let parameters = parameters.iter();
        let request = Request::from(Admin {
            action: self.action,
            resources: resources.iter().map(|&name| name.to_owned()).collect(),
            parameters: parameters
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            guards,
            writes,
        });
        let counters = &self.node.request_counters;
        let performed =
            perform(self.hosted, counters, self.caller, Duration::ZERO, &request).await?;
        if matches!(performed.reply, Err(Refusal::Overtaken)) {
            return Err(NotDone::Overtaken);
        }
        let (_, revision) = performed.into_response(&self.hosted.domain_name())?;
        Ok(revision)
    }

    pub(crate) fn members(&self) -> Result<Members, Status> {
        self.hosted.members().ok_or_else(|| unavailable("no members known here yet"))
    }

    /// The members, and what a guard on exactly this reading of them holds.
    pub(crate) fn members_as_read(&self) -> Result<(Members, Option<GuardDigest>), Status> {
        let (blob, guard) = read(&self.hosted.replica.view(), Kind::Members)?;
        let members = Members::decode(blob.as_ref())
            .map_err(|_| unavailable("the members record cannot be read here"))?;
        Ok((members, guard))
    }

    /// Deals a new root key, has every member that answers store its share, and commits the change. If
    /// what it rests on has changed meanwhile, such as by a new domain key, it begins anew, unless that
    /// was another change of the members.
    pub(crate) async fn deal(&self, change: Change) -> Result<EpochNumber, Status> {
        let mut begun = 1;
        loop {
            match self.deal_once(&change).await {
                Err(NotDone::Overtaken) if begun < DEALINGS_MAX && self.is_of_these(&change) => {
                    info!(begun, "what this dealing rests on has changed: it begins anew");
                    begun += 1;
                    // The keeper would do it soon. If it cannot be done, the next dealing says why.
                    let _ = self.hosted.refresh_keyring();
                }
                dealt => return Ok(dealt?),
            }
        }
    }

    /// Whether the members still are those that the change was worked out from.
    fn is_of_these(&self, change: &Change) -> bool {
        let members = RecordId::singleton(Kind::Members);
        self.hosted.replica.view().guard(&members) == change.members_read
    }

    async fn deal_once(&self, change: &Change) -> Result<EpochNumber, NotDone> {
        let hosted = self.hosted;
        let names: Vec<&str> =
            change.members.members.iter().map(|member| member.name.as_str()).collect();
        let (ground, mut guards) = ground(hosted)?;
        guards.insert(RecordId::singleton(Kind::Members), change.members_read);
        let number = self.reserve(&ground, &guards, &names).await?;

        let seals = self.seals(&ground.epochs, &change.members.members).await?;
        let with_seals: Vec<(Member, SealKind)> =
            change.members.members.iter().cloned().zip(seals).collect();
        let recipients =
            recipients_with_seals(&with_seals).map_err(|error| precondition(error.to_string()))?;
        let dealt = hosted.with_keyring(|keyring| {
            let keyring = keyring.ok_or_else(|| unavailable("this node was sealed meanwhile"))?;
            let operators = change.operators.as_ref();
            dealing::plan(keyring, &ground, number, &recipients, operators, &mut SystemEntropy)
                .map_err(|error| match error {
                    // They have changed since the ground was read, or are just being read anew here.
                    PlanError::DomainKeys => NotDone::Overtaken,
                    error => precondition(error.to_string()).into(),
                })
        })?;
        let acknowledged = self.deliver(&dealt, change).await?;
        let writes = dealt
            .writes(&acknowledged, change.left_out)
            .map_err(|error| unavailable(error.to_string()))?;
        let missing = names.len() - acknowledged.len();
        let parameters = vec![
            ("step", "commit".to_owned()),
            ("epoch", number.to_string()),
            ("threshold", dealt.epoch.threshold.to_string()),
            ("missing", missing.to_string()),
        ];
        let index = if change.changes_voters {
            self.change_voters(change, writes, &guards, parameters, &names).await?
        } else {
            self.record(guards, writes, &parameters, &names).await?.log_index.0
        };
        info!(epoch = %number, members = ?names, missing, "a new root key was dealt");
        self.adopt(&dealt, index).await;
        Ok(number)
    }

    async fn reserve(
        &self,
        ground: &Ground,
        guards: &Guards,
        names: &[&str],
    ) -> Result<EpochNumber, NotDone> {
        let (counter, counted) = read(&self.hosted.replica.view(), Kind::ShareCounter)?;
        let (number, reserve) = dealing::reserve(&counter, &ground.epochs)
            .map_err(|error| unavailable(error.to_string()))?;
        let mut guards = guards.clone();
        guards.insert(RecordId::singleton(Kind::ShareCounter), counted);
        let parameters = [("step", "deal".to_owned()), ("epoch", number.to_string())];
        self.record(guards, vec![reserve], &parameters, names).await?;
        Ok(number)
    }

    /// What each member keeps its share under: as it says, or as it last said. One of them must be
    /// open, or nobody could go on from here but the operators.
    async fn seals(
        &self,
        epochs: &ShareEpochs,
        members: &[Member],
    ) -> Result<Vec<SealKind>, Status> {
        let asked = members.iter().map(async |member| match member.name == self.node.name {
            true => Some((self.node.seal_kind(), SealState::Open)),
            false => self.ask_seal(member).await,
        });
        let told = join_all(asked).await;
        if !told.iter().flatten().any(|(_, state)| *state == SealState::Open) {
            return Err(precondition("none of the members that stay is open; unseal one first"));
        }
        let known = |member: &Member| epochs.newest().holder(RaftId(member.raft_id))?.acknowledged;
        let seals = members.iter().zip(told).map(|(member, told)| {
            told.map(|(seal, _)| seal).or(known(member)).unwrap_or(SealKind::Operator)
        });
        Ok(seals.collect())
    }

    async fn ask_seal(&self, member: &Member) -> Option<(SealKind, SealState)> {
        let mut client = self.client(member).ok()?;
        let asked = client.node_status(NodeStatusRequest {});
        let status = peer::timed(STATUS_TIMEOUT, asked).await.ok()?;
        Some((SealKind::parse(&status.seal)?, SealState::parse(&status.state)?))
    }

    /// Sends every member its share; those who stored it, each with what it wrapped it with.
    async fn deliver(
        &self,
        dealt: &Dealing,
        change: &Change,
    ) -> Result<BTreeMap<RaftId, SealKind>, Status> {
        let sent = dealt.deliveries.iter().map(async |delivery| {
            let members = &change.members.members;
            let member = members.iter().find(|member| member.raft_id == delivery.to.0);
            let member = member.ok_or_else(|| unavailable("a share was dealt to nobody"))?;
            let mut client = self.client(member)?;
            let stored = client.store_share(delivery.to_request(&dealt.epoch));
            let stored = peer::timed(STORE_TIMEOUT, stored).await.map_err(|status| {
                let (name, why) = (&member.name, status.message());
                unavailable(format!("{name} did not store its share: {why}"))
            })?;
            let seal = SealKind::parse(&stored.seal);
            seal.ok_or_else(|| unavailable(format!("{} names no seal", member.name)))
        });
        let mut acknowledged = BTreeMap::new();
        for (delivery, stored) in dealt.deliveries.iter().zip(join_all(sent).await) {
            match stored {
                Ok(seal) => {
                    acknowledged.insert(delivery.to, seal);
                }
                Err(status) if change.must_store.contains(&delivery.to) => return Err(status),
                Err(status) => warn!(why = status.message(), "a share was not stored yet"),
            }
        }
        Ok(acknowledged)
    }

    async fn change_voters(
        &self,
        change: &Change,
        mut writes: Vec<Write>,
        guards: &Guards,
        parameters: Vec<(&'static str, String)>,
        names: &[&str],
    ) -> Result<u64, NotDone> {
        let hosted = self.hosted;
        let now_ms = hosted
            .replica
            .now_ms()
            .ok_or_else(|| unavailable("cluster time is not known yet; retry"))?;
        let resources = names.iter().map(|&name| name.to_owned()).collect();
        let happened =
            Happened { parameters, ..Happened::by(self.caller, "ChangeMembers", resources) };
        let mut admissions: Admissions = hosted.admissions();
        admissions.admissions.retain(|admission| {
            admission.member.as_ref().is_some_and(|member| !names.contains(&member.name.as_str()))
        });
        let mut members = change.members.clone();
        members.members.sort_by_key(|member| member.raft_id);
        writes.push(Write::put(RecordId::singleton(Kind::Members), members.encode_to_vec()));
        writes.push(Write::put(RecordId::singleton(Kind::Admissions), admissions.encode_to_vec()));
        let entry = happened.seal(hosted, now_ms)?;
        let record = member_change(&writes, entry).map_err(|error| invalid(error.to_string()))?;
        let voters: Vec<u64> = members.members.iter().map(|member| member.raft_id).collect();
        let deadline = Instant::now() + STEP_TIMEOUT;
        let changed = hosted.replica.change_members(&voters, record, guards, deadline).await;
        changed.map_err(|error| match error {
            MembersError::Overtaken => NotDone::Overtaken,
            error => unavailable(format!("the members did not change: {error}")).into(),
        })
    }

    /// This node dealt the root key, so it need not ask for it.
    pub(crate) async fn adopt(&self, dealt: &Dealing, index: u64) {
        let hosted = self.hosted;
        if hosted.replica.wait_applied(index, Instant::now() + STEP_TIMEOUT).await.is_err() {
            return;
        }
        let is_member = hosted.share_epochs().is_some_and(|epochs| {
            epochs.get(dealt.epoch.number).is_some_and(|e| e.holder(hosted.raft_id()).is_some())
        });
        if !is_member || !hosted.is_open() {
            return;
        }
        let opened = Keyring::open(&dealt.root, &hosted.replica.view());
        match opened {
            Ok(keyring) => {
                hosted.seal().adopt(dealt.epoch.number);
                hosted.open(keyring);
            }
            Err(reason) => warn!(%reason, "the new root key is asked for like everybody else's"),
        }
    }

    fn client(&self, member: &Member) -> Result<peer::Client, Status> {
        let to = Some((self.hosted.domain_id(), RaftId(member.raft_id)));
        peer::client(self.node, &member.name, &member.peer, to)
    }
}

/// Why a step was not done.
pub(crate) enum NotDone {
    /// What it rests on is not as it was read: the ceremony has to begin anew. Nothing was written.
    Overtaken,
    /// For whoever gave the order.
    Told(Status),
}

impl From<Status> for NotDone {
    fn from(status: Status) -> Self {
        Self::Told(status)
    }
}

impl From<NotDone> for Status {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Overtaken => unavailable("what this rests on has just changed; retry"),
            NotDone::Told(status) => status,
        }
    }
}

/// The records that a dealing rests on, and guards on exactly this reading of them.
pub(crate) fn ground(hosted: &Hosted) -> Result<(Ground, Guards), Status> {
    let view = hosted.replica.view();
    let (epochs, epochs_read) = read(&view, Kind::ShareEpoch)?;
    let (keys, keys_read) = read(&view, Kind::DomainKeys)?;
    let (operator, operator_read) = read(&view, Kind::OperatorKey)?;
    let broken = |error: String| unavailable(error);
    let ground = Ground {
        epochs: ShareEpochs::parse(&epochs).map_err(|error| broken(error.to_string()))?,
        domain_keys: DomainKeys::decode(keys.as_ref())
            .map_err(|_| unavailable("the domain keys cannot be read here"))?,
        operator: OperatorKeyRecord::parse(&operator).map_err(|error| broken(error.to_string()))?,
    };
    let guards = Ground::RECORDS.into_iter().map(RecordId::singleton);
    Ok((ground, guards.zip([epochs_read, keys_read, operator_read]).collect()))
}

/// A public record and its guard, from one reading.
pub(crate) fn read(
    view: &impl View,
    kind: Kind,
) -> Result<(Arc<[u8]>, Option<GuardDigest>), Status> {
    let id = RecordId::singleton(kind);
    let blob = view.blob(&id).ok().flatten();
    blob.map(|blob| (blob, view.guard(&id)))
        .ok_or_else(|| unavailable("the domain's records are not known here yet"))
}
