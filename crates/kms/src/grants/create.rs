//! CreateGrant.

use conclave_crypto::sha256;
use conclave_proto::v1;
use conclave_store::Kind;

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::fields::{
    GrantConstraints, GrantId, GrantName, GrantOperations, GrantToken, GrantTokens, PrincipalRef,
};
use crate::invalid::Invalid;
use crate::key_ref::{DomainInfo, KeyId, KeyRef};
use crate::keys::check_usable;
use crate::operation::{Change, Operation};
use crate::reads::{GRANTS_MAX, grant_record_id, key_record_id};
use crate::records::GrantRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::KeySpec;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct CreateGrant {
    key: KeyRef,
    grantee: PrincipalRef,
    retiring: Option<PrincipalRef>,
    operations: GrantOperations,
    constraints: GrantConstraints,
    name: Option<GrantName>,
    dry_run: bool,
}

impl TryFrom<v1::CreateGrantRequest> for CreateGrant {
    type Error = Refusal;

    fn try_from(sent: v1::CreateGrantRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        if !sent.grantee_service_principal.is_empty() || !sent.retiring_service_principal.is_empty()
        {
            return Err(Refusal::NotOffered { what: "A service principal".to_owned() });
        }
        Ok(Self {
            key: KeyRef::parse_key(&sent.key_id)?,
            grantee: PrincipalRef::parse("granteePrincipal", &sent.grantee_principal)?,
            retiring: PrincipalRef::parse_optional("retiringPrincipal", &sent.retiring_principal)?,
            operations: GrantOperations::parse(&sent.operations)?,
            constraints: GrantConstraints::parse(sent.constraints)?,
            name: GrantName::parse(sent.name)?,
            dry_run: sent.dry_run,
        })
    }
}

impl Operation for CreateGrant {
    fn action(&self) -> Action {
        Action::CreateGrant
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("GranteePrincipal", &self.grantee.told());
        if let Some(retiring) = &self.retiring {
            told.put("RetiringPrincipal", &retiring.told());
        }
        told.put("Operations", &self.operations.names().join(","));
        told.put_given("Name", self.name.as_ref().map_or("", GrantName::as_str));
        told.put_all("EncryptionContextEquals.", self.constraints.equals.pairs());
        told.put_all("EncryptionContextSubset.", self.constraints.subset.pairs());
        told.dry_run(self.dry_run);
    }
}

impl Change for CreateGrant {
    /// The id of a grant with a name derives from all that is asked for, so the same request comes to
    /// the same grant; else from the request's token, so however late a retry comes, it makes no other.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        check_usable(key.state, &arn)?;
        self.operations.check_key(key.spec, key.usage).map_err(Refusal::from)?;
        if key.spec != KeySpec::SymmetricDefault && !self.constraints.is_empty() {
            return Err(Refusal::from(Invalid::GrantConstraintsOfAsymmetric).into());
        }
        let mut grant = self.grant(work, key.id)?;
        grant.id = self.id(work, &grant);
        match work.reads.grant(grant.id)? {
            Some(existing) if existing.asked() == grant.asked() => {
                work.unless_dry_run(self.dry_run)?;
            }
            Some(_) => {
                let request_id = work.caller.request_id.as_str().to_owned();
                return Err(Refusal::from(Invalid::RequestIdReused { request_id }).into());
            }
            None => {
                if !work.reads.has_room_for_grant(key.id) {
                    return Err(Refusal::GrantLimit { arn, max: GRANTS_MAX }.into());
                }
                work.unless_dry_run(self.dry_run)?;
                let record = grant_record_id(grant.id);
                work.put_under(key_record_id(key.id), record, &grant.encode());
            }
        }
        let versions = key.versions();
        let kept = Kept::key(work.now_ms, KeptKey { id: key.id, state: key.state, versions });
        Ok(Kept { item: grant.id.bytes().to_vec(), ..kept })
    }

    fn response(&self, kept: &Kept, _: &DomainInfo) -> Response {
        let (Some(key), Ok(grant)) = (kept.key, kept.item.as_slice().try_into()) else {
            return Response::Done;
        };
        let grant = GrantId::new(grant);
        let grant_token = GrantToken { key: key.id, grant }.to_string();
        v1::CreateGrantResponse { grant_token, grant_id: grant.to_string() }.into()
    }
}

impl CreateGrant {
    /// As it is to be kept, its id aside.
    fn grant(&self, work: &Work<'_>, key: KeyId) -> Result<GrantRecord, Refusal> {
        let retiring = self.retiring.as_ref().map(|retiring| retiring.arn(work.domain));
        Ok(GrantRecord {
            id: GrantId::new([0; 16]),
            key,
            name: self.name.as_ref().map(|name| name.as_str().to_owned()),
            grantee: self.grantee.arn(work.domain)?,
            retiring: retiring.transpose()?,
            operations: self.operations.clone(),
            context_equals: self.constraints.equals.pairs().to_vec(),
            context_subset: self.constraints.subset.pairs().to_vec(),
            issuer: work.domain.principal_arn(&work.caller.principal),
            created_ms: work.now_ms,
        })
    }

    fn id(&self, work: &Work<'_>, grant: &GrantRecord) -> GrantId {
        if self.name.is_none() {
            return GrantId::new(work.keyring.derived_grant_id(&work.token()));
        }
        let asked = hex::encode(sha256(&[&grant.asked()]));
        let record = work.keyring.name_id(Kind::Grant, &work.domain.account, &asked);
        GrantId::new(*record.id())
    }
}
