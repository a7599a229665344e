//! docs/api.md is what the protos say, and says what it should of every operation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/api.md"));

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_reference_is_made_of_the_protos() {
    assert!(
        document("api.md") == PAGE,
        "docs/api.md is not what the protos say: cargo run -p conclave-proto --example reference"
    );
}

/// The sections of one service, by operation.
fn operations(service: &str) -> BTreeMap<&'static str, &'static str> {
    let at = PAGE.find(&format!("\n## {service}\n")).expect("the service has its part");
    let part = &PAGE[at + 1..];
    let part = &part[..part.find("\n## ").unwrap_or(part.len())];
    let sections = part.split("\n### ").skip(1);
    sections.map(|section| section.split_once('\n').unwrap_or_default()).collect()
}

#[test]
fn every_operation_says_what_it_does() {
    for service in ["conclave.v1.Kms", "conclave.v1.Cluster", "conclave.v1.Audit"] {
        for (operation, section) in operations(service) {
            let said = section.trim_start().lines().next().unwrap_or_default();
            assert!(
                said.ends_with('.') && !said.starts_with(['|', '*']),
                "{operation} of {service} has no comment: in kms.proto above its request, else above the rpc"
            );
        }
    }
}

/// By docs/aws-compatibility.md, which is compared with what nodes answer.
#[test]
fn what_aws_has_too_has_its_json_names() {
    let compatible = document("aws-compatibility.md");
    let aws: BTreeSet<&str> = compatible
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(_, rest)| ["offered", "not yet", "never"].iter().any(|it| rest.starts_with(it)))
        .map(|(operation, _)| operation)
        .collect();
    assert!(aws.len() > 50, "{aws:?}");
    for (operation, section) in operations("conclave.v1.Kms") {
        let has_json = section.contains("| JSON |");
        let has_members = section.contains("\n|---|");
        assert_eq!(has_json, has_members && aws.contains(operation), "{operation}");
    }
}

#[test]
fn every_link_within_the_page_leads_somewhere() {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
    let mut anchors = BTreeSet::new();
    for heading in headings {
        assert!(anchors.insert(heading.to_lowercase()), "{heading} stands twice");
    }
    for link in PAGE.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap_or_default();
        assert!(anchors.contains(anchor), "{anchor}");
    }
}
