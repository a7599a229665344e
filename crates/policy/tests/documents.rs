//! Documents and what is said of them: tables, and that nothing at all makes the parser panic.

use conclave_policy::{
    Comparison, Effect, POLICY_BYTES_MAX, Policy, Principal, Question, Values, Version,
};
use proptest::prelude::*;

const ACCOUNT: &str = "000000000001";
const KEY: &str = "arn:aws:kms:eu:000000000001:key/12345678-1234-4234-9234-123456789012";

const DEFAULT: &str = r#"{"Version": "2012-10-17", "Id": "key-default-1", "Statement": [{
    "Sid": "Enable IAM User Permissions", "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::000000000001:root"}, "Action": "kms:*", "Resource": "*"}]}"#;

/// One statement with everything that it needs but `without`, and `with` besides.
fn statement(without: &[&str], with: &str) -> String {
    let parts = [
        ("Effect", r#""Effect": "Allow""#),
        ("Principal", r#""Principal": "*""#),
        ("Action", r#""Action": "kms:*""#),
        ("Resource", r#""Resource": "*""#),
    ];
    let kept = parts.iter().filter(|(name, _)| !without.contains(name)).map(|(_, text)| *text);
    let members: Vec<&str> = kept.chain((!with.is_empty()).then_some(with)).collect();
    format!(r#"{{"Statement": {{{}}}}}"#, members.join(", "))
}

fn told(document: &str) -> String {
    match Policy::parse(document) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_default_policy_says_what_it_says() {
    let policy = Policy::parse(DEFAULT).expect("it is AWS's own");
    assert_eq!((policy.version, policy.id.as_deref()), (Version::V2012, Some("key-default-1")));
    let [statement] = policy.statements.as_slice() else { panic!("{policy:?}") };
    assert_eq!(statement.sid.as_deref(), Some("Enable IAM User Permissions"));
    assert_eq!(statement.effect, Effect::Allow);
    assert!(
        matches!(&statement.principals.of[..], [Principal::Account(of)] if of.as_str() == ACCOUNT)
    );
    assert_eq!(statement.actions.of[0].as_str(), "kms:*");
    assert!(statement.conditions.is_empty());
    assert_eq!(policy.check_account(ACCOUNT), Ok(()));
}

#[test]
fn what_is_wrong_is_said() {
    let long = " ".repeat(POLICY_BYTES_MAX + 1);
    let deep = format!(r#"{{"Statement": {}"#, "[".repeat(10_000));
    let many = format!(r#"{{"Statement": [{}]}}"#, vec!["{}"; 101].join(","));
    let actions = vec![r#""kms:a""#; 1001].join(",");
    let actions = statement(&["Action"], &format!(r#""Action": [{actions}]"#));
    let invalid = "Policy contains a statement with one or more invalid principals. Statement[0].";
    let cases: &[(&str, &str)] = &[
        (&long, "The policy has 32769 bytes; at most 32768 are allowed"),
        ("{\"Id\": \"\u{2028}\"}", "The policy contains the character U+2028;"),
        ("{\"Id\": \"\u{1}\"}", "The policy contains the character U+0001;"),
        ("", "This policy contains invalid Json: EOF"),
        ("{} {}", "This policy contains invalid Json: trailing characters"),
        (&deep, "This policy contains invalid Json: recursion limit exceeded"),
        (r#"{"Id": "a", "Id": "a"}"#, "This policy contains invalid Json: duplicate member 'Id'"),
        ("[]", "The policy: expected an object, found a list"),
        ("{}", "The policy: Statement is missing"),
        (r#"{"Statement": []}"#, "Statement: is empty"),
        (r#"{"Statement": "a"}"#, "Statement[0]: expected an object, found a string"),
        (&many, "Statement: has more than 100 elements"),
        (r#"{"Version": "2020-01-01"}"#, "Version: '2020-01-01' is not 2012-10-17 or 2008-10-17"),
        (r#"{"Version": 2012}"#, "Version: expected a string, found a number"),
        (r#"{"Id": null}"#, "Id: expected a string, found null"),
        (&statement(&["Effect"], ""), "Statement[0]: Effect is missing"),
        (&statement(&["Effect"], r#""Effect": "allow""#), "Statement[0].Effect: 'allow' is not"),
        (&statement(&[], r#""Sid": 1"#), "Statement[0].Sid: expected a string, found a number"),
        (
            &statement(&[], r#""Foo": 1"#),
            "Statement[0]: has the unknown member 'Foo'; there are Sid,",
        ),
        (&statement(&["Principal"], ""), "Statement[0]: Principal is missing"),
        (
            &statement(&[], r#""NotPrincipal": "*""#),
            "Statement[0]: has both Principal and NotPrincipal; give one of them",
        ),
        (&statement(&[], r#""NotAction": "*""#), "Statement[0]: has both Action and NotAction"),
        (
            &statement(&[], r#""NotResource": "*""#),
            "Statement[0]: has both Resource and NotResource",
        ),
        (&statement(&["Action"], ""), "Statement[0]: Action is missing"),
        (&statement(&["Action"], r#""Action": """#), "Statement[0].Action: is empty"),
        (&statement(&["Action"], r#""Action": []"#), "Statement[0].Action: is empty"),
        (&statement(&["Action"], r#""Action": [[]]"#), "Statement[0].Action: expected a string"),
        (
            &statement(&["Action"], r#""Action": "s3:*""#),
            "Statement[0].Action: 's3:*' is not '*', or",
        ),
        (&statement(&["Action"], r#""Action": "kms:""#), "Statement[0].Action: 'kms:' is not"),
        (
            &statement(&["Action"], r#""Action": "kms:A B""#),
            "Statement[0].Action: 'kms:A B' is not",
        ),
        (&actions, "Statement[0].Action: has more than 1000 elements"),
        (&statement(&["Resource"], ""), "Statement[0]: Resource is missing"),
        (&statement(&["Resource"], r#""Resource": "x""#), "Statement[0].Resource: 'x' is not"),
        (
            &statement(&["Principal"], r#""Principal": "a""#),
            "Statement[0].Principal: 'a' is not '*' or",
        ),
        (
            &statement(&["Principal"], r#""Principal": 1"#),
            "Statement[0].Principal: expected '*' or",
        ),
        (
            &statement(&["Principal"], r#""Principal": {}"#),
            "Statement[0].Principal: AWS is missing",
        ),
        (
            &statement(&["Principal"], r#""Principal": {"AWS": "*", "Service": "a"}"#),
            "Statement[0].Principal: has the unknown member 'Service'; there are AWS alone",
        ),
        (
            &statement(&["Principal"], r#""Principal": {"AWS": []}"#),
            "Statement[0].Principal.AWS: is empty",
        ),
        (
            &statement(&["Principal"], r#""Principal": {"AWS": "uma"}"#),
            &format!("{invalid}Principal.AWS names 'uma'"),
        ),
        (
            &statement(&["Principal"], r#""NotPrincipal": {"AWS": "arn:aws:iam::1:user/a"}"#),
            &format!("{invalid}NotPrincipal.AWS names 'arn:aws:iam::1:user/a'"),
        ),
        (
            &statement(
                &["Principal"],
                r#""Principal": {"AWS": "arn:aws:iam::000000000001:user/Uma"}"#,
            ),
            invalid,
        ),
        (
            &statement(
                &["Principal"],
                r#""Principal": {"AWS": "arn:aws:iam::000000000001:role/"}"#,
            ),
            invalid,
        ),
    ];
    for (document, expected) in cases {
        let told = told(document);
        let shown = document.get(..256).unwrap_or(document);
        assert!(told.starts_with(expected), "{shown}\n{told}\n{expected}");
        assert!(told.len() < 512, "{told}");
    }
}

#[test]
fn every_form_that_there_is_is_taken() {
    for with in [
        r#""Sid": "With spaces""#,
        r#""Condition": {}"#,
        r#""Condition": {"StringEquals": {"kms:ViaService": "a"}}"#,
        r#""Condition": {"ForAnyValue:StringLikeIfExists": {"kms:EncryptionContextKeys": ["a*", "b"]}}"#,
        r#""Condition": {"NumericLessThan": {"a:b": [1, "2.5", -3e2]}}"#,
        r#""Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}"#,
        r#""Condition": {"DateGreaterThan": {"aws:CurrentTime": ["2026-01-01", 1700000000]}}"#,
        r#""Condition": {"Bool": {"aws:SecureTransport": true}, "Null": {"a:b": "False"}}"#,
        r#""Condition": {"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::1"]}}"#,
        r#""Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}"#,
        r#""Condition": {"StringEquals": {"aws:ResourceTag/Any Thing\u4e2d": ""}}"#,
    ] {
        assert_eq!(told(&statement(&[], with)), "ok", "{with}");
    }
    for principal in [
        r#""000000000001""#,
        r#"["*", "arn:aws:iam::000000000001:root"]"#,
        r#""arn:aws:iam::000000000001:user/uma""#,
        r#""arn:aws:iam::000000000001:role/service-role/Admin""#,
    ] {
        let with = format!(r#""Principal": {{"AWS": {principal}}}"#);
        assert_eq!(told(&statement(&["Principal"], &with)), "ok", "{with}");
    }
    let old = Policy::parse(&statement(&[], "")).expect("no version is the old one");
    assert_eq!(old.version, Version::V2008);
}

#[test]
fn conditions_are_read_as_their_operator_takes_them() {
    for (condition, expected) in [
        (r#"{"Foo": {"a:b": "c"}}"#, "Condition: 'Foo' is not an operator of IAM"),
        (r#"{"NullIfExists": {"a:b": true}}"#, "Condition: 'NullIfExists' is not"),
        (r#"{"ForSomeValues:Bool": {"a:b": true}}"#, "Condition: 'ForSomeValues:Bool' is not"),
        (r#"{"Bool": true}"#, "Condition.Bool: expected an object, found true or false"),
        (r#"{"Bool": {}}"#, "Condition.Bool: is empty"),
        (r#"{"Bool": {"a": true}}"#, "Condition.Bool: 'a' is not the name of a condition key"),
        (r#"{"Bool": {"a:b": []}}"#, "Condition.Bool.a:b: is empty"),
        (r#"{"Bool": {"a:b": "yes"}}"#, "Condition.Bool.a:b: 'yes' is not true or false"),
        (r#"{"Bool": {"a:b": null}}"#, "Condition.Bool.a:b: expected a string, found null"),
        (
            r#"{"NumericEquals": {"a:b": "inf"}}"#,
            "Condition.NumericEquals.a:b: 'inf' is not a number",
        ),
        (r#"{"DateEquals": {"a:b": "today"}}"#, "Condition.DateEquals.a:b: 'today' is not a date"),
        (r#"{"IpAddress": {"a:b": "1.2.3.4/33"}}"#, "Condition.IpAddress.a:b: '1.2.3.4/33' is not"),
        (r#"[]"#, "Condition: expected an object, found a list"),
    ] {
        let told = told(&statement(&[], &format!(r#""Condition": {condition}"#)));
        assert!(told.starts_with(&format!("Statement[0].{expected}")), "{condition}\n{told}");
    }
    let with = r#""Condition": {"ForAllValues:NumericEqualsIfExists": {"a:b": [1, "2"]}}"#;
    let policy = Policy::parse(&statement(&[], with)).expect("it is one");
    let [condition] = policy.statements[0].conditions.as_slice() else { panic!("{policy:?}") };
    assert_eq!(condition.operator.comparison, Comparison::NumericEquals);
    assert!(condition.operator.if_exists && condition.operator.quantifier.is_some());
    assert_eq!(condition.values, Values::Number(vec![1.0, 2.0]));
}

/// Whether `uma`, of that account, surely may change the policy of that key.
#[test]
fn who_surely_may() {
    let (allow, deny) = (r#""Effect": "Allow""#, r#""Effect": "Deny""#);
    let (everyone, all) = (r#""Principal": "*""#, r#""Action": "*", "Resource": "*""#);
    let aws = |who: &str| format!(r#""Principal": {{"AWS": "{who}"}}"#);
    let (uma, ada) = ("arn:aws:iam::000000000001:user/uma", "arn:aws:iam::000000000001:user/ada");
    let not = |who: &str| format!(r#""NotPrincipal": {{"AWS": "{who}"}}"#);
    let on =
        |action: &str, resource: &str| format!(r#""Action": "{action}", "Resource": "{resource}""#);
    let when = r#", "Condition": {"Bool": {"aws:SecureTransport": "true"}}"#;
    let cases: &[(&[String], bool)] = &[
        (&[format!("{allow}, {everyone}, {all}")], true),
        (&[format!("{allow}, {}, {all}", aws(uma))], true),
        (&[format!("{allow}, {}, {all}", aws(ACCOUNT))], true),
        (&[format!("{allow}, {}, {all}", aws("arn:aws:iam::000000000001:root"))], true),
        (&[format!("{allow}, {}, {all}", aws(ada))], false),
        (&[format!("{allow}, {}, {all}", aws("arn:aws:iam::000000000001:role/uma"))], false),
        (&[format!("{allow}, {}, {all}", aws("arn:aws:iam::000000000002:user/uma"))], false),
        (&[format!("{allow}, {}, {all}", aws("000000000002"))], false),
        (&[format!("{allow}, {}, {all}", not(ada))], true),
        (&[format!("{allow}, {}, {all}", not(uma))], false),
        (&[format!("{allow}, {everyone}, {}", on("kms:PutKeyPolicy", KEY))], true),
        (&[format!("{allow}, {everyone}, {}", on("KMS:put*policy", "arn:aws:kms:*:key/*"))], true),
        (&[format!("{allow}, {everyone}, {}", on("kms:Put?", "*"))], false),
        (&[format!("{allow}, {everyone}, {}", on("kms:Get*", "*"))], false),
        (&[format!("{allow}, {everyone}, {}", on("kms:*", "arn:aws:kms:eu:1:key/2"))], false),
        (&[format!(r#"{allow}, {everyone}, "NotAction": "kms:Encrypt", "Resource": "*""#)], true),
        (&[format!(r#"{allow}, {everyone}, "NotAction": "kms:Put*", "Resource": "*""#)], false),
        (&[format!(r#"{allow}, {everyone}, "Action": "*", "NotResource": "{KEY}""#)], false),
        (&[format!("{allow}, {everyone}, {all}{when}")], false),
        (
            &[format!("{allow}, {everyone}, {all}{when}"), format!("{allow}, {}, {all}", aws(uma))],
            true,
        ),
        (&[format!("{allow}, {everyone}, {all}"), format!("{deny}, {}, {all}", aws(uma))], false),
        (&[format!("{allow}, {everyone}, {all}"), format!("{deny}, {}, {all}", aws(ada))], true),
        (&[format!("{deny}, {}, {all}", not(uma)), format!("{allow}, {everyone}, {all}")], true),
        (
            &[format!("{allow}, {everyone}, {all}"), format!("{deny}, {everyone}, {all}{when}")],
            false,
        ),
        (&[format!("{deny}, {}, {all}", aws(ada))], false),
    ];
    for (statements, expected) in cases {
        let document = format!(r#"{{"Statement": [{{{}}}]}}"#, statements.join("}, {"));
        let policy = Policy::parse(&document).expect("each is one");
        let asked = Question {
            account: ACCOUNT,
            principal: "uma",
            action: "kms:PutKeyPolicy",
            resource: KEY,
        };
        assert_eq!(policy.allows_surely(&asked), *expected, "{document}");
    }
}

#[test]
fn another_account_is_none_of_the_domain() {
    let with = r#""Principal": {"AWS": ["*", "000000000002"]}"#;
    let policy = Policy::parse(&statement(&["Principal"], with)).expect("by itself it is one");
    let error = policy.check_account(ACCOUNT).expect_err("it names another");
    assert_eq!(
        error.to_string(),
        "Policy contains a statement with one or more invalid principals. \
         Statement[0].Principal.AWS names 'arn:aws:iam::000000000002:root'"
    );
}

/// What looks like a policy, with anything in it.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let names = [
        "Version",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "AWS",
        "StringEquals",
        "Bool",
        "DateEquals",
        "IpAddress",
        "NumericEquals",
        "a:b",
    ];
    let texts = [
        "2012-10-17",
        "Allow",
        "Deny",
        "*",
        "kms:*",
        "arn:aws:iam::000000000001:user/uma",
        "true",
        "2026-01-01T00:00:00+23:59",
        "-262144-01-01",
        "999999999999999",
        "1.2.3.4/",
        "::/0",
        "",
    ];
    let leaf = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(|text| format!("{text:?}")),
        "[0-9]{1,3}",
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(depth, 64, 6, move |inner| {
        let member = (prop::sample::select(names.to_vec()), inner.clone());
        let member = member.prop_map(|(name, value)| format!("{name:?}: {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(member, 0..8).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever comes in, something is said, and not at length.
    #[test]
    fn no_input_panics(text in any::<String>(), document in json(6), condition in json(3)) {
        let with = format!(r#""Condition": {{"DateEquals": {{"a:b": {condition}}}}}"#);
        for document in [text, document, statement(&[], &with)] {
            prop_assert!(told(&document).len() < 1024);
        }
    }
}
