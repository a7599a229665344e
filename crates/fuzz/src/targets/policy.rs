//! Key policies.

use conclave_policy::{Policy, Question};

use crate::Target;
use crate::stage::ACCOUNT;

pub(super) const KEY_POLICY: Target =
    Target { name: "key_policy", run: key_policy, valid: policies, brief: 18_000 };

/// Has something of each kind.
pub(super) const DOCUMENT: &str = r#"{
  "Version": "2012-10-17", "Id": "a-policy",
  "Statement": [
    {"Sid": "all", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000001:root"},
     "Action": "kms:*", "Resource": "*"},
    {"Effect": "Deny", "NotPrincipal": {"AWS": ["000000000001", "arn:aws:iam::000000000001:user/ada"]},
     "NotAction": ["kms:De?crypt", "kms:Describe*"], "NotResource": "arn:aws:kms:*:*:key/*",
     "Condition": {
       "ForAnyValue:StringLikeIfExists": {"kms:EncryptionContextKeys": ["a*", "b"]},
       "NumericLessThan": {"a:b": 1.5}, "Bool": {"aws:SecureTransport": true},
       "DateLessThan": {"aws:CurrentTime": ["2026-01-01T00:00:00Z", 1700000000, "2026-01-01"]},
       "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}}
  ]
}"#;

/// A document to what it says, and to what is refused of it.
fn key_policy(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match Policy::parse(text) {
        Ok(policy) => {
            assert!(!policy.statements.is_empty());
            let _ = policy.check_account(ACCOUNT);
            let (principal, action) = ("ada", "kms:PutKeyPolicy");
            let resource = "arn:aws:kms:eu:000000000001:key/12345678-1234-4234-9234-123456789012";
            let asked = Question { account: ACCOUNT, principal, action, resource };
            let _ = policy.allows_surely(&asked);
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 1_024, "an endless refusal");
            false
        }
    }
}

fn policies() -> Vec<Vec<u8>> {
    let small = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#;
    [DOCUMENT, small].map(|text| text.as_bytes().to_vec()).to_vec()
}
