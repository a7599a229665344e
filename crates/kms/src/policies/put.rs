//! PutKeyPolicy, and what CreateKey does with the policy it is given.

use conclave_policy::Question;
use conclave_proto::v1;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::fields::{PolicyDocument, PolicyName};
use crate::key_ref::{DomainInfo, KeyId, KeyRef};
use crate::operation::{Change, Operation};
use crate::reads::{key_policy_record_id, key_record_id};
use crate::records::KeyPolicyRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct PutKeyPolicy {
    key: KeyRef,
    policy: PolicyDocument,
    bypass_lockout_check: bool,
}

impl TryFrom<v1::PutKeyPolicyRequest> for PutKeyPolicy {
    type Error = Refusal;

    fn try_from(sent: v1::PutKeyPolicyRequest) -> Result<Self, Refusal> {
        let key = KeyRef::parse_key(&sent.key_id)?;
        PolicyName::parse(&sent.policy_name)?;
        Ok(Self {
            key,
            policy: PolicyDocument::parse(sent.policy)?,
            bypass_lockout_check: sent.bypass_policy_lockout_safety_check,
        })
    }
}

impl Operation for PutKeyPolicy {
    fn action(&self) -> Action {
        Action::PutKeyPolicy
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        tell_policy(told, &self.policy, self.bypass_lockout_check);
    }
}

impl Change for PutKeyPolicy {
    /// Whatever the key's state: of one that is to be deleted the policy says who may yet keep it.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        put_policy(work, key.id, &self.policy, self.bypass_lockout_check)?;
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::PutKeyPolicyResponse {}.into()
    }
}

/// Gives a key a policy that names nobody from elsewhere and, unless the caller takes that upon
/// themself, leaves them the means to change it again.
pub(crate) fn put_policy(
    work: &mut Work<'_>,
    key: KeyId,
    document: &PolicyDocument,
    bypass_lockout_check: bool,
) -> Result<(), Stop> {
    let policy = document.policy();
    policy.check_account(&work.domain.account).map_err(Refusal::from)?;
    let asked = Question {
        account: &work.domain.account,
        principal: &work.caller.principal,
        action: "kms:PutKeyPolicy",
        resource: &work.domain.key_arn(key),
    };
    if !bypass_lockout_check && !policy.allows_surely(&asked) {
        return Err(Refusal::PolicyLockout.into());
    }
    // Read, so that of two changes at once the later one is told of the earlier one.
    work.reads.key_policy(key)?;
    let record = key_policy_record_id(key);
    work.put_under(key_record_id(key), record, &KeyPolicyRecord::encode(document.text()));
    Ok(())
}

/// By its digest: an entry has no room for the whole.
pub(crate) fn tell_policy(told: &mut Told<'_>, document: &PolicyDocument, bypassed: bool) {
    told.put("PolicySha256", &document.digest());
    if bypassed {
        told.put("BypassPolicyLockoutSafetyCheck", "true");
    }
}
