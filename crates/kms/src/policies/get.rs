//! GetKeyPolicy.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::PolicyName;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GetKeyPolicy {
    key: KeyRef,
}

impl TryFrom<v1::GetKeyPolicyRequest> for GetKeyPolicy {
    type Error = Refusal;

    fn try_from(sent: v1::GetKeyPolicyRequest) -> Result<Self, Refusal> {
        let key = KeyRef::parse_key(&sent.key_id)?;
        PolicyName::parse(&sent.policy_name)?;
        Ok(Self { key })
    }
}

impl Operation for GetKeyPolicy {
    fn action(&self) -> Action {
        Action::GetKeyPolicy
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for GetKeyPolicy {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let policy = match work.reads.key_policy(key.id)? {
            Some(kept) => kept.text.clone(),
            None => default_policy(work.domain),
        };
        Ok(v1::GetKeyPolicyResponse { policy, policy_name: PolicyName::TEXT.to_owned() }.into())
    }
}

/// What a key has that was given none, laid out as AWS KMS does it.
fn default_policy(domain: &DomainInfo) -> String {
    let root = domain.root_arn();
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "{root}"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

#[cfg(test)]
mod tests {
    use conclave_policy::{Policy, Question};

    use super::*;

    #[test]
    fn the_default_policy_is_one_and_locks_nobody_out() {
        let domain = DomainInfo { name: "eu".into(), account: "000000000001".into() };
        let policy = Policy::parse(&default_policy(&domain)).unwrap();
        policy.check_account(&domain.account).unwrap();
        let (principal, action, resource) = ("ada", "kms:PutKeyPolicy", "arn:aws:kms:eu:1:key/2");
        let account = &domain.account;
        assert!(policy.allows_surely(&Question { account, principal, action, resource }));
    }
}
