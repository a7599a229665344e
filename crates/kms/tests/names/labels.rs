//! Tags and descriptions.

use conclave_kms::fields::TAGS_MAX;
use conclave_kms::{Refusal, Request};
use conclave_proto::{audit, v1};

use crate::common::{Service, tags};
use crate::{
    NO_KEY, arn, describe_as, described, done, refusal_of, refused, tag, to_delete, untag,
};

fn tag_pages(service: &mut Service, key: &str, limit: Option<i32>) -> Vec<Vec<(String, String)>> {
    let (mut pages, mut marker) = (Vec::new(), String::new());
    loop {
        let request = v1::ListResourceTagsRequest { key_id: key.to_owned(), limit, marker };
        let told = service.call("aud", request);
        let page = v1::ListResourceTagsResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(page.truncated, page.next_marker.is_some());
        pages.push(page.tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect());
        let Some(next) = page.next_marker else { return pages };
        assert!(next.len() <= 1024);
        marker = next;
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn tags_are_added_changed_and_taken_off() {
    let mut service = Service::new();
    let key = service.key("");
    assert!(tag_pages(&mut service, &key, None).concat().is_empty());
    let told = done(&mut service, tag(&key, &[("b", "1"), ("a", "")]));
    let shown = |entry: &audit::Entry| -> Vec<_> {
        entry.parameters.iter().map(|it| pair(&it.name, &it.value)).collect()
    };
    assert_eq!(shown(&told.entry), [pair("Tag.a", ""), pair("Tag.b", "1")]);
    assert_eq!(told.entry.resources, [arn(&format!("key/{key}"))]);
    done(&mut service, tag(&key, &[("c", "3"), ("b", "2")]));
    let all = [pair("a", ""), pair("b", "2"), pair("c", "3")];
    assert_eq!(tag_pages(&mut service, &key, None), [all.to_vec()]);
    assert_eq!(tag_pages(&mut service, &key, Some(3)), [all.to_vec()]);
    assert_eq!(tag_pages(&mut service, &key, Some(2)), [all[..2].to_vec(), all[2..].to_vec()]);
    let told = done(&mut service, untag(&key, &["c", "a", "c", "none"]));
    assert_eq!(shown(&told.entry), [pair("Tag.a", ""), pair("Tag.c", ""), pair("Tag.none", "")]);
    assert_eq!(tag_pages(&mut service, &key, None), [[pair("b", "2")]]);
    assert_eq!(described(&mut service, &key).tags, tags(&[("b", "2")]));
    done(&mut service, tag(&key, &[]));
    done(&mut service, untag(&key, &[]));
}

/// A page goes on after its last tag even if that one is gone meanwhile; the longest marker fits.
#[test]
fn pages_of_tags_outlive_changes() {
    let mut service = Service::new();
    let key = service.key("");
    let long = "\u{10FFFF}".repeat(128);
    done(&mut service, tag(&key, &[("a", "1"), ("b", "2"), ("c", "3"), (long.as_str(), "4")]));
    let page = |service: &mut Service, marker: Option<String>, limit| {
        let (key_id, marker) = (key.clone(), marker.unwrap_or_default());
        let request = v1::ListResourceTagsRequest { key_id, limit: Some(limit), marker };
        v1::ListResourceTagsResponse::try_from(service.call("aud", request).reply.unwrap()).unwrap()
    };
    let first = page(&mut service, None, 2);
    done(&mut service, untag(&key, &["b"]));
    let second = page(&mut service, first.next_marker, 1);
    assert_eq!(second.tags, tags(&[("c", "3")]));
    assert_eq!(page(&mut service, second.next_marker, 1).tags, tags(&[(long.as_str(), "4")]));
    assert!(page(&mut service, Some(hex::encode(&long)), 1).tags.is_empty());
    for marker in ["x", "zz", &"61".repeat(129), "c3"] {
        let (key_id, marker) = (key.clone(), marker.to_owned());
        let request = v1::ListResourceTagsRequest { key_id, marker, limit: None };
        assert!(refused(&mut service, request).starts_with("InvalidMarkerException: "));
    }
}

#[test]
fn refusals_of_tags_and_descriptions() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let numbered: Vec<_> = (0..=TAGS_MAX).map(|number| format!("k{number:02}")).collect();
    let fifty: Vec<_> = numbered[1..].iter().map(|key| (key.as_str(), "v")).collect();
    done(&mut service, tag(&key, &fifty));
    let arn_of = |key: &str| arn(&format!("key/{key}"));
    let no_key = format!("NotFoundException: Key '{}' does not exist", arn_of(NO_KEY));
    let long_key = "k".repeat(129);
    let too_long = |member: &str| {
        format!(
            "ValidationException: 1 validation error detected: Value '{long_key}' at '{member}' failed \
             to satisfy constraint: Member must have length less than or equal to 128"
        )
    };
    let alias = "NotFoundException: Invalid keyId 'alias/a'";
    let (long_tag, long_untag) = (too_long("tags.1.member.tagKey"), too_long("tagKeys.2.member"));
    let all: Vec<_> = numbered.iter().map(String::as_str).collect();
    let cases: [(Result<Request, Refusal>, &str); 17] = [
        (tag(&key, &[("k00", "v")]).try_into(), "TagException: Too many tags"),
        (tag(&key, &[("a", "1"), ("a", "2")]).try_into(), "TagException: Duplicate tag keys"),
        (
            tag(&key, &[("AWS:x", "v")]).try_into(),
            "TagException: Tags beginning with aws: are reserved",
        ),
        (tag(&key, &[(&long_key, "v")]).try_into(), &long_tag),
        (tag(NO_KEY, &[("a", "1")]).try_into(), &no_key),
        (tag("alias/a", &[("a", "1")]).try_into(), alias),
        (untag(&key, &all).try_into(), "TagException: Too many tags"),
        (untag(&key, &["a", &long_key]).try_into(), &long_untag),
        (
            untag(&key, &[""]).try_into(),
            "ValidationException: 1 validation error detected: Value at 'tagKeys.1.member' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (untag(NO_KEY, &["a"]).try_into(), &no_key),
        (untag("alias/a", &["a"]).try_into(), alias),
        (
            v1::ListResourceTagsRequest { key_id: NO_KEY.into(), ..Default::default() }.try_into(),
            &no_key,
        ),
        (
            v1::ListResourceTagsRequest { key_id: "alias/a".into(), ..Default::default() }
                .try_into(),
            alias,
        ),
        (
            v1::ListResourceTagsRequest {
                key_id: key.clone(),
                limit: Some(51),
                ..Default::default()
            }
            .try_into(),
            "ValidationException: 1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50",
        ),
        (describe_as(NO_KEY, "d").try_into(), &no_key),
        (describe_as("alias/a", "d").try_into(), alias),
        (
            describe_as(&key, &"d".repeat(8193)).try_into(),
            "ValidationException: 1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(refusal_of(&mut service, request), expected);
    }
    // Forty of the longest are more than a record has room for; those it has can be changed.
    let value = "\u{10FFFF}".repeat(256);
    let long: Vec<_> = fifty[..40].iter().map(|(key, _)| (*key, value.as_str())).collect();
    assert!(refused(&mut service, tag(&key, &long)).starts_with("ValidationException: "));
    done(&mut service, tag(&key, &long[..20]));
    let request = tag(&key, &long[20..]);
    assert!(refused(&mut service, request).starts_with("ValidationException: "));
    done(&mut service, tag(&key, &fifty));

    done(&mut service, describe_as(&key, &"d".repeat(8192)));
    done(&mut service, to_delete(&key));
    let pending = format!("KMSInvalidStateException: {} is pending deletion.", arn_of(&key));
    assert_eq!(refused(&mut service, tag(&key, &[("k01", "w")])), pending);
    assert_eq!(refused(&mut service, untag(&key, &["k01"])), pending);
    assert_eq!(refused(&mut service, describe_as(&key, "")), pending);
    assert_eq!(tag_pages(&mut service, &key, None)[0].len(), 50);
}

#[test]
fn a_description_is_replaced() {
    let mut service = Service::new();
    let key = service.key("");
    for description in ["first", "Ünicode", ""] {
        let told = done(&mut service, describe_as(&key, description));
        assert_eq!(described(&mut service, &key).description, description);
        let told = &told.entry.parameters[0];
        assert_eq!((told.name.as_str(), told.value.as_str()), ("Description", description));
    }
}
