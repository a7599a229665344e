//! Who may do what, and that a decision cannot outlive what it was decided by.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use common::{PRINCIPALS, Service, caller, every_request};
use conclave_kms::{Action, Admin, AdminAction, DecideError, Refusal, Request, decide_whole};
use conclave_proto::{audit, v1};
use conclave_store::{
    BlobDigest, Family, GuardDigest, Guarded, Kind, LastUse, LogIndex, MemoryStore, Outcome,
    ReadError, RecordId, View, Write,
};

/// The whole table, written down a second time: o operator, a key administrator, u key user, x auditor.
const TABLE: &[(&str, &str)] = &[
    ("AddNodes", "o"),
    ("RemoveNode", "o"),
    ("SealNode", "o"),
    ("DrainNode", "o"),
    ("UndrainNode", "o"),
    ("RotateRoot", "o"),
    ("ExcludeNode", "o"),
    ("DealOperatorShares", "o"),
    ("RotateDomainKey", "o"),
    ("CreatePrincipal", "o"),
    ("DeletePrincipal", "o"),
    ("ListPrincipals", "ox"),
    ("CreateKey", "a"),
    ("DescribeKey", "aux"),
    ("ListKeys", "aux"),
    ("EnableKey", "a"),
    ("DisableKey", "a"),
    ("RotateKeyOnDemand", "a"),
    ("EnableKeyRotation", "a"),
    ("DisableKeyRotation", "a"),
    ("GetKeyRotationStatus", "ax"),
    ("ListKeyRotations", "ax"),
    ("GetKeyTombstone", "ax"),
    ("ScheduleKeyDeletion", "a"),
    ("CancelKeyDeletion", "a"),
    ("GetParametersForImport", "a"),
    ("ImportKeyMaterial", "a"),
    ("DeleteImportedKeyMaterial", "a"),
    ("Encrypt", "u"),
    ("Decrypt", "u"),
    ("ReEncrypt", "u"),
    ("GenerateDataKey", "u"),
    ("GenerateDataKeyWithoutPlaintext", "u"),
    ("GenerateDataKeyPair", "u"),
    ("GenerateDataKeyPairWithoutPlaintext", "u"),
    ("GenerateRandom", "u"),
    ("GetPublicKey", "aux"),
    ("GetKeyLastUsage", "aux"),
    ("Sign", "u"),
    ("Verify", "u"),
    ("GenerateMac", "u"),
    ("VerifyMac", "u"),
    ("DeriveSharedSecret", "u"),
    ("Encapsulate", "u"),
    ("Decapsulate", "u"),
    ("GetKeyPolicy", "ax"),
    ("PutKeyPolicy", "a"),
    ("ListKeyPolicies", "ax"),
    ("CreateGrant", "a"),
    ("ListGrants", "ax"),
    ("ListRetirableGrants", "aux"),
    ("RetireGrant", "au"),
    ("RevokeGrant", "a"),
    ("ListAudit", "x"),
    ("ExportAudit", "x"),
    ("CreateAlias", "a"),
    ("UpdateAlias", "a"),
    ("DeleteAlias", "a"),
    ("ListAliases", "aux"),
    ("TagResource", "a"),
    ("UntagResource", "a"),
    ("ListResourceTags", "aux"),
    ("UpdateKeyDescription", "a"),
    ("ReplicateKey", "a"),
    ("UpdatePrimaryRegion", "a"),
    ("CreateCustomKeyStore", "a"),
    ("DescribeCustomKeyStores", "aux"),
    ("ConnectCustomKeyStore", "a"),
    ("DisconnectCustomKeyStore", "a"),
    ("UpdateCustomKeyStore", "a"),
    ("DeleteCustomKeyStore", "a"),
];

const NO_KEY: &str = "01234567-89ab-4def-8123-456789abcdef";

/// Every role, and nobody at all, against every action.
#[test]
fn role_by_action() {
    let mut service = Service::new();
    let key = service.key("");
    let ciphertext = service.encrypt(&key, b"x");
    let requests = every_request(&key, &key, &ciphertext);
    let names: BTreeSet<_> = requests.iter().map(|request| request.action().name()).collect();
    // What is for nobody to ask comes by itself: `due.rs`.
    let asked_for = Action::ALL.iter().filter(|action| !action.roles().is_empty());
    assert_eq!(names, asked_for.map(|action| action.name()).collect());
    for request in &requests {
        let action = request.action().name();
        let (_, letters) = TABLE.iter().find(|(name, _)| *name == action).unwrap();
        for (principal, letter) in
            [("olga", 'o'), ("ada", 'a'), ("uma", 'u'), ("aud", 'x'), ("nobody", '-')]
        {
            let caller = service.caller(principal);
            let plan = service.decide(&caller, request);
            let allowed = !matches!(plan.reply, Err(Refusal::Denied { .. }));
            assert_eq!(allowed, letters.contains(letter), "{principal} {action}");
            let entry = service.keyring.open_entry(&plan.body.audit).unwrap().entry;
            assert_eq!((entry.action.as_str(), entry.principal.as_str()), (action, principal));
            if allowed {
                let role = PRINCIPALS.iter().find(|(name, _)| *name == principal).unwrap().1;
                assert_eq!(entry.decided_by, [format!("role:{role}")]);
            } else {
                assert_eq!(entry.outcome, audit::Outcome::Denied as i32);
                assert!(entry.reason.starts_with("AccessDeniedException: Principal '"));
                assert!(plan.body.writes.is_empty());
                let told = plan.reply.unwrap_err().message();
                assert!(told.contains(&format!("kms:{action} on resource: ")), "{told}");
            }
        }
    }
}

/// Notes whatever is read.
struct Spy<'a> {
    store: &'a MemoryStore,
    read: RefCell<BTreeSet<RecordId>>,
}

impl View for Spy<'_> {
    fn digest(&self, id: &RecordId) -> Option<BlobDigest> {
        self.read.borrow_mut().insert(*id);
        self.store.digest(id)
    }
    fn blob(&self, id: &RecordId) -> Result<Option<Arc<[u8]>>, ReadError> {
        self.read.borrow_mut().insert(*id);
        self.store.blob(id)
    }
    fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.store.list(kind, after, limit)
    }
    fn family(&self, family: &Family, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.store.family(family, after, limit)
    }
    fn count(&self, family: &Family) -> u32 {
        self.store.count(family)
    }
    fn scan_guard(&self, family: &Family) -> Option<GuardDigest> {
        self.store.scan_guard(family)
    }
    fn last_use(&self, id: &RecordId) -> Option<LastUse> {
        self.store.last_use(id)
    }
    fn applied(&self) -> LogIndex {
        self.store.applied()
    }
}

/// Whatever a decision read is guarded, found or absent, allowed or denied: change any of it, and the
/// txn conflicts. Only the contents of a page are not, by design.
#[test]
fn every_read_record_is_a_guard_that_holds() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let ciphertext = service.encrypt(&key, b"x");
    let mut requests = every_request(&key, "alias/a", &ciphertext);
    requests.extend(every_request(NO_KEY, "alias/none", b"not a ciphertext"));
    requests.extend(every_request(NO_KEY, NO_KEY, &ciphertext));
    let mut tried = 0;
    for request in &requests {
        for principal in ["olga", "ada", "uma", "aud", "nobody"] {
            let caller = service.caller(principal);
            let store = service.store.clone();
            let spy = Spy { store: &store, read: RefCell::default() };
            let plan = service.decide_over(&spy, &caller, request);
            let mut read = spy.read.into_inner();
            if request.needs_read_index() {
                read.retain(|id| plan.body.guards.contains_key(id));
            }
            if request.is_mutation() {
                // What the keyring was read from, of which this txn is to bear the seal.
                read.insert(RecordId::singleton(Kind::DomainKeys));
            }
            let guarded: BTreeSet<_> = plan.body.guards.keys().copied().collect();
            assert_eq!(read, guarded, "{principal} {request:?}");
            assert!(!guarded.is_empty());
            for write in &plan.body.writes {
                let id = write.record;
                assert!(guarded.contains(&id), "{request:?} writes {id} unread");
            }
            assert!(matches!(
                service.store.clone().commit(plan.body.clone(), service.now_ms),
                Outcome::Committed(_)
            ));
            for id in guarded {
                let mut changed = store.clone();
                let blob = b"another blob, or one where none was".to_vec();
                changed.write(vec![Write::put(id, blob)]);
                let outcome = changed.commit(plan.body.clone(), service.now_ms);
                assert!(
                    matches!(outcome, Outcome::Conflict { on, .. } if on == Some(Guarded::Record(id))),
                    "{principal} {request:?}: {outcome:?} although {id} changed"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

/// P2: a use decided before a disable does not commit after it.
#[test]
fn a_use_under_way_does_not_outlive_a_disable() {
    let mut service = Service::new();
    let key = service.key("");
    let caller = service.caller("uma");
    let request = common::encrypt(&key, b"x").try_into().unwrap();
    let plan = service.decide(&caller, &request);
    assert!(plan.reply.is_ok());
    assert!(service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }).reply.is_ok());
    let outcome = service.store.commit(plan.body, service.now_ms);
    assert!(matches!(outcome, Outcome::Conflict { .. }));
    assert_eq!(service.call_as(&caller, &request).reply.unwrap_err().name(), "DisabledException");
}

/// Enabling what is enabled writes nothing, so uses under way go on.
#[test]
fn a_change_that_changes_nothing_disturbs_nobody() {
    let mut service = Service::new();
    let key = service.key("");
    let caller = service.caller("uma");
    let request = common::encrypt(&key, b"x").try_into().unwrap();
    let plan = service.decide(&caller, &request);
    assert!(service.call("ada", v1::EnableKeyRequest { key_id: key }).reply.is_ok());
    assert!(service.commit(&caller, &request, plan).reply.is_ok());
}

#[test]
fn nobody_changes_their_own_principal_and_an_operator_remains() {
    let mut service = Service::new();
    let create = |name: &str, role: &str| v1::CreatePrincipalRequest {
        name: name.to_owned(),
        roles: vec![role.to_owned()],
    };
    let delete = |name: &str| v1::DeletePrincipalRequest { name: name.to_owned() };
    let told = [
        service.call("olga", create("olga", "key-user")),
        service.call("olga", delete("olga")),
        service.call("olga", create("oskar", "operator")),
        service.call("olga", create("oskar", "key-user")),
        service.call("oskar", delete("olga")),
        service.call("olga", delete("oskar")),
        service.call("oskar", delete("olga")),
        service.call("oskar", delete("oskar")),
    ];
    assert_eq!(
        told.iter().map(common::Told::line).collect::<Vec<_>>(),
        [
            "AlreadyExistsException | CreatePrincipal Refused role:operator",
            "AccessDeniedException | DeletePrincipal Denied role:operator",
            "principal oskar | CreatePrincipal Success role:operator",
            "AlreadyExistsException | CreatePrincipal Refused role:operator",
            "ok | DeletePrincipal Success role:operator",
            "AccessDeniedException | DeletePrincipal Denied principal:unknown",
            "NotFoundException | DeletePrincipal Refused role:operator",
            "AccessDeniedException | DeletePrincipal Denied role:operator",
        ]
    );
}

/// Two operators who delete each other at once: one of them conflicts.
#[test]
fn the_last_two_operators_cannot_delete_each_other() {
    let mut service = Service::new();
    service.set_principal("oskar", "operator");
    let mut plan = |from: &str, whom: &str| {
        let request = v1::DeletePrincipalRequest { name: whom.to_owned() }.try_into().unwrap();
        let caller = service.caller(from);
        service.decide(&caller, &request)
    };
    let (one, other) = (plan("olga", "oskar"), plan("oskar", "olga"));
    assert!(one.reply.is_ok() && other.reply.is_ok());
    assert!(matches!(service.store.commit(one.body, service.now_ms), Outcome::Committed(_)));
    assert!(matches!(service.store.commit(other.body, service.now_ms), Outcome::Conflict { .. }));
}

#[test]
fn principals_are_listed_page_by_page() {
    let mut service = Service::new();
    let (mut listed, mut marker) = (BTreeSet::new(), String::new());
    loop {
        let told = service.call("aud", v1::ListPrincipalsRequest { limit: Some(3), marker });
        let page = v1::ListPrincipalsResponse::try_from(told.reply.unwrap()).unwrap();
        listed.extend(page.principals.into_iter().map(|it| (it.name, it.roles.join(","))));
        let Some(next) = page.next_marker else { break };
        marker = next;
    }
    let expected = PRINCIPALS.map(|(name, role)| (name.to_owned(), role.to_owned()));
    assert_eq!(listed, BTreeSet::from(expected));
}

/// A ceremony's writes go into the same txn, guarded by what it read and by who may.
#[test]
fn a_ceremony_is_one_txn() {
    let mut service = Service::new();
    let record = RecordId::singleton(Kind::Admissions);
    let request = Request::from(Admin {
        action: AdminAction::AddNodes,
        resources: vec!["node/node-2".to_owned()],
        parameters: vec![("Peer".to_owned(), "node-2:7000".to_owned())],
        guards: [(record, service.store.guard(&record))].into(),
        writes: vec![Write::put(record, vec![1, 2, 3])],
    });
    assert!(!request.is_mutation());
    let plan = service.decide(&caller("aud", "a"), &request);
    assert!(plan.reply.is_err() && plan.body.writes.is_empty());
    let caller = caller("olga", "b");
    let plan = service.decide(&caller, &request);
    assert_eq!(plan.body.guards.len(), 2);
    let told = service.commit(&caller, &request, plan);
    assert_eq!(told.line(), "ok | AddNodes Success role:operator");
    assert_eq!(told.entry.resources, ["node/node-2"]);
    assert_eq!(service.store.blob(&record).unwrap().unwrap()[..], [1, 2, 3]);
}

/// A step that rests on what is not so any more writes nothing, and comes to an end: that is audited.
#[test]
fn a_ceremony_that_was_overtaken_is_told_so() {
    let mut service = Service::new();
    let [read, other] = [Kind::Admissions, Kind::ShareCounter].map(RecordId::singleton);
    let guards = [(read, service.store.guard(&read)), (other, service.store.guard(&other))];
    let request = Request::from(Admin {
        action: AdminAction::AddNodes,
        resources: vec!["node/node-2".to_owned()],
        parameters: Vec::new(),
        guards: guards.into(),
        writes: vec![Write::put(other, vec![1, 2, 3])],
    });
    service.store.write(vec![Write::put(read, vec![9])]);
    let caller = caller("olga", "b");
    let plan = service.decide(&caller, &request);
    assert!(matches!(plan.reply, Err(Refusal::Overtaken)), "{:?}", plan.reply);
    assert_eq!(plan.body.guards[&read], service.store.guard(&read));
    let told = service.commit(&caller, &request, plan);
    assert!(told.line().contains("AddNodes Refused"), "{}", told.line());
    assert_ne!(service.store.blob(&other).unwrap().as_deref(), Some(&[1, 2, 3][..]));
}

/// Damage is our trouble, never a refusal: the caller is told of an internal error, and nothing commits.
#[test]
fn a_record_that_does_not_open_is_no_outcome() {
    let mut service = Service::new();
    let (key, other) = (service.key(""), service.key(""));
    let id =
        |key: &str| RecordId::new(Kind::Key, *conclave_kms::KeyId::parse(key).unwrap().bytes());
    let of_other = service.store.blob(&id(&other)).unwrap().unwrap().to_vec();
    for blob in [b"garbage".to_vec(), of_other] {
        service.store.write(vec![Write::put(id(&key), blob)]);
        let caller = service.caller("uma");
        let request = common::encrypt(&key, b"x").try_into().unwrap();
        let store = service.store.clone();
        let decided = decide_whole(&mut service.ctx(&store, &caller), &request);
        assert!(matches!(decided, Err(DecideError::Open { .. })));
    }
}
