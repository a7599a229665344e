//! Bounds, defaults and spellings, as a caller is told of them.

use super::*;
use crate::refusal::Refusal;

fn told<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.reason(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Promised in the README: the limit is AWS's, and the refusal says what to do.
#[test]
fn a_plaintext_has_at_most_4096_bytes() {
    assert_eq!(told(Plaintext::parse(vec![0; 4096])), "ok");
    assert_eq!(
        told(Plaintext::parse(vec![0; 4097])),
        "ValidationException: 1 validation error detected: Value at 'plaintext' failed to \
         satisfy constraint: Member must have length less than or equal to 4096; encrypt \
         larger data under a data key (GenerateDataKey, envelope encryption)"
    );
    assert_eq!(told(Plaintext::parse(Vec::new())), "ok");
}

#[test]
fn numbers_have_bounds_and_defaults() {
    assert_eq!(Days::parse(None).unwrap().get(), 30);
    assert!(told(Days::parse(Some(6))).contains("Value '6' at 'pendingWindowInDays'"));
    assert!(Days::parse(Some(7)).is_ok() && Days::parse(Some(31)).is_err());
    assert_eq!(DataKeyBytes::parse(None, "AES_256").unwrap().get(), 32);
    assert_eq!(DataKeyBytes::parse(None, "AES_128").unwrap().get(), 16);
    assert!(DataKeyBytes::parse(None, "").is_err());
    assert!(DataKeyBytes::parse(Some(32), "AES_256").is_err());
    assert!(DataKeyBytes::parse(Some(1024), "").is_ok());
    assert!(DataKeyBytes::parse(Some(1025), "").is_err());
    assert_eq!(told(RandomBytes::parse(None)), "ValidationException: NumberOfBytes is required.");
    assert!(told(RandomBytes::parse(Some(-1))).contains("Value '-1' at 'numberOfBytes'"));
    assert!(told(RandomBytes::parse(Some(0))).ends_with("greater than or equal to 1"));
    assert!(told(RandomBytes::parse(Some(1025))).ends_with("less than or equal to 1024"));
    assert_eq!(PageLimit::parse(None, 100, 1000).unwrap().get(), 100);
    assert!(PageLimit::parse(Some(1000), 100, 1000).is_ok());
    assert!(PageLimit::parse(Some(1001), 100, 1000).is_err());
}

#[test]
fn a_context_is_sorted_distinct_and_bounded() {
    let context = EncryptionContext::parse(pairs(&[("b", "1"), ("a", "2")])).unwrap();
    assert_eq!(context.pairs(), pairs(&[("a", "2"), ("b", "1")]));
    assert!(told(EncryptionContext::parse(pairs(&[("a", "1"), ("a", "2")]))).contains("twice"));
    assert!(EncryptionContext::parse(pairs(&[("", "1")])).is_err());
    let long = "v".repeat(CONTEXT_BYTES_MAX);
    assert!(EncryptionContext::parse(pairs(&[("n", &long)])).is_err());
    assert!(EncryptionContext::parse(pairs(&[("n", &long[1..])])).is_ok());
}

#[test]
fn tags_follow_the_rules_of_aws() {
    let many = |n: usize| (0..n).map(|i| (i.to_string(), String::new()));
    assert_eq!(told(Tags::parse(many(50))), "ok");
    assert_eq!(told(Tags::parse(many(51))), "TagException: Too many tags");
    let twice = pairs(&[("a", "1"), ("a", "2")]);
    assert_eq!(told(Tags::parse(twice)), "TagException: Duplicate tag keys");
    let reserved = "TagException: Tags beginning with aws: are reserved";
    assert_eq!(told(Tags::parse(pairs(&[("aWs:x", "")]))), reserved);
    assert_eq!(told(Tags::parse(pairs(&[("äöü", "")]))), "ok");
    assert!(told(Tags::parse(pairs(&[("", "")]))).starts_with("ValidationException"));
    assert!(Tags::parse(pairs(&[(&"k".repeat(129), "")])).is_err());
    assert!(Tags::parse(pairs(&[("k", &"v".repeat(257))])).is_err());
}

#[test]
fn roles_are_known_names() {
    let parse = |names: &[&str]| {
        Roles::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(parse(&["key-user", "operator", "key-user"]).unwrap().as_slice().len(), 2);
    assert!(parse(&[]).is_err());
    assert!(told(parse(&["root"])).contains("'root' is no role"));
    for role in Role::ALL {
        assert_eq!(Role::from_proto(role.to_proto() as i32), Some(role));
    }
    assert_eq!(Role::from_proto(0), None);
}

/// A kept format: callers hold tokens. Computed by another implementation.
#[test]
fn golden_grant_token() {
    let token =
        GrantToken { key: crate::key_ref::KeyId::new([0x11; 16]), grant: GrantId::new([0x22; 16]) };
    let text = "AREREREREREREREREREREREiIiIiIiIiIiIiIiIiIiIi";
    assert_eq!(token.to_string(), text);
    assert_eq!(GrantToken::parse(text).unwrap(), token);
    for bad in ["", "AQ==", &text[1..], &text.replacen("AR", "Ah", 1), &format!("{text}AAAA")] {
        assert_eq!(
            told(GrantToken::parse(bad)).split(':').next(),
            Some("InvalidGrantTokenException")
        );
    }
}

/// A name and its ARN are one principal, another account's is none.
#[test]
fn principals_have_one_form() {
    let domain = crate::key_ref::DomainInfo { name: "eu".into(), account: "000000000001".into() };
    let arn = "arn:aws:iam::000000000001:user/uma";
    for given in ["uma", arn] {
        assert_eq!(PrincipalRef::parse("p", given).unwrap().arn(&domain).unwrap(), arn);
    }
    let other = PrincipalRef::parse("p", "arn:aws:iam::000000000002:user/uma").unwrap();
    assert!(other.arn(&domain).unwrap_err().reason().starts_with("InvalidArnException: "));
    for bad in
        ["*", "Uma", "000000000001:x", "arn:aws:iam::000000000001:root", "arn:aws:iam::1:user/a"]
    {
        assert!(told(PrincipalRef::parse("p", bad)).starts_with("InvalidArnException: "), "{bad}");
    }
    assert!(told(PrincipalRef::parse("p", "")).starts_with("ValidationException: "));
    // Twelve digits are a name too: what a certificate could carry comes first.
    assert!(PrincipalRef::parse("p", "000000000001").is_ok());
}
