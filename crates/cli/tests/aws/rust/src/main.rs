//! The AWS SDK for Rust against a cluster that `conclave dev` started: what it seals, signs and is refused
//! through one node holds on the others. `guide.rs` is the Rust of docs/aws-compatibility.md.

mod guide;

use std::collections::HashSet;
use std::error::Error;

use aws_sdk_kms::Client;
use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    DataKeySpec, KeySpec, KeyState, KeyUsageType, MacAlgorithmSpec, SigningAlgorithmSpec,
};

type Checked = Result<(), Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Checked {
    the_guide_is_what_runs_here();
    let endpoints = std::env::var("CONCLAVE_ENDPOINTS")?;
    let nodes = endpoints.split(',').map(guide::kms).collect::<Result<Vec<_>, _>>()?;
    let nodes: [Client; 3] = nodes.try_into().map_err(|_| "three nodes are wanted")?;
    encryption(&nodes).await?;
    signatures(&nodes).await?;
    macs(&nodes).await?;
    refusals(&nodes).await?;
    pages(&nodes).await?;
    println!("Rust: every check held");
    Ok(())
}

fn the_guide_is_what_runs_here() {
    let document = include_str!("../../../../../../docs/aws-compatibility.md");
    let block = format!("```rust\n{}```\n", include_str!("guide.rs"));
    assert!(document.contains(&block), "docs/aws-compatibility.md has another src/guide.rs");
}

async fn encryption([one, two, three]: &[Client; 3]) -> Checked {
    let created = one.create_key().description("of Rust").send().await?;
    let key = created.key_metadata().ok_or("no metadata")?;
    assert!(key.creation_date().is_some_and(|date| date.secs() > 1_700_000_000));
    assert_eq!(key.key_state(), Some(&KeyState::Enabled));
    let arn = key.arn().ok_or("no ARN")?;

    let sealed = one.encrypt().key_id(arn).plaintext(Blob::new("from Rust"));
    let sealed = sealed.encryption_context("app", "rust").send().await?;
    let blob = sealed.ciphertext_blob().ok_or("no ciphertext")?.clone();
    let opened = two.decrypt().ciphertext_blob(blob).encryption_context("app", "rust");
    let opened = opened.send().await?;
    assert_eq!(opened.plaintext(), Some(&Blob::new("from Rust")));
    assert_eq!(opened.key_id(), Some(arn));
    assert_eq!(opened.request_id().map(str::len), Some(36));

    let data_key = two.generate_data_key().key_id(arn).key_spec(DataKeySpec::Aes256).send().await?;
    assert_eq!(data_key.plaintext().map(|key| key.as_ref().len()), Some(32));
    let blob = data_key.ciphertext_blob().ok_or("no ciphertext")?.clone();
    let opened = three.decrypt().ciphertext_blob(blob).send().await?;
    assert_eq!(opened.plaintext(), data_key.plaintext());
    Ok(())
}

async fn signatures([one, two, three]: &[Client; 3]) -> Checked {
    let created =
        two.create_key().key_spec(KeySpec::EccNistP256).key_usage(KeyUsageType::SignVerify);
    let created = created.send().await?;
    let arn = created.key_metadata().and_then(|key| key.arn()).ok_or("no ARN")?;
    let algorithm = SigningAlgorithmSpec::EcdsaSha256;
    let message = Blob::new("signed by Rust");
    let signed =
        one.sign().key_id(arn).message(message.clone()).signing_algorithm(algorithm.clone());
    let signature = signed.send().await?.signature.ok_or("no signature")?;
    let verify = || three.verify().key_id(arn).signing_algorithm(algorithm.clone());
    let verified = verify().message(message).signature(signature.clone()).send().await?;
    assert!(verified.signature_valid());
    let refused = verify().message(Blob::new("another")).signature(signature).send().await;
    let refused = refused.expect_err("another message").into_service_error();
    assert!(refused.is_kms_invalid_signature_exception(), "{refused:?}");
    Ok(())
}

async fn macs([one, two, _]: &[Client; 3]) -> Checked {
    let created =
        one.create_key().key_spec(KeySpec::Hmac256).key_usage(KeyUsageType::GenerateVerifyMac);
    let created = created.send().await?;
    let arn = created.key_metadata().and_then(|key| key.arn()).ok_or("no ARN")?;
    let algorithm = MacAlgorithmSpec::HmacSha256;
    let message = Blob::new("of Rust");
    let mac =
        two.generate_mac().key_id(arn).message(message.clone()).mac_algorithm(algorithm.clone());
    let mac = mac.send().await?.mac.ok_or("no MAC")?;
    let verify =
        || one.verify_mac().key_id(arn).message(message.clone()).mac_algorithm(algorithm.clone());
    assert!(verify().mac(mac).send().await?.mac_valid());
    let refused = verify().mac(Blob::new([0; 32])).send().await;
    let refused = refused.expect_err("another MAC").into_service_error();
    assert!(refused.is_kms_invalid_mac_exception(), "{refused:?}");
    Ok(())
}

/// Each arrives as the type that the SDK has for it.
async fn refusals([one, two, three]: &[Client; 3]) -> Checked {
    let refused = one.describe_key().key_id("fake").send().await.expect_err("no such key");
    let status = refused.raw_response().map(|response| response.status().as_u16());
    let refused = refused.into_service_error();
    assert!(refused.is_not_found_exception(), "{refused:?}");
    assert_eq!((refused.message(), status), (Some("Invalid keyId 'fake'"), Some(400)));

    let created = one.create_key().send().await?;
    let arn = created.key_metadata().and_then(|key| key.arn()).ok_or("no ARN")?;
    let sealed = one.encrypt().key_id(arn).plaintext(Blob::new("x")).encryption_context("a", "b");
    let blob = sealed.send().await?.ciphertext_blob.ok_or("no ciphertext")?;
    let refused = two.decrypt().ciphertext_blob(blob).send().await.expect_err("no context");
    let refused = refused.into_service_error();
    assert!(refused.is_invalid_ciphertext_exception(), "{refused:?}");

    // It is modelled nowhere.
    let refused = three.create_key().key_spec("X".into()).send().await.expect_err("no such spec");
    let refused = refused.into_service_error();
    assert_eq!(refused.code(), Some("ValidationException"), "{refused:?}");

    three.disable_key().key_id(arn).send().await?;
    for node in [one, two, three] {
        let refused = node.encrypt().key_id(arn).plaintext(Blob::new("x")).send().await;
        let refused = refused.expect_err("it is disabled").into_service_error();
        assert!(refused.is_disabled_exception(), "{refused:?}");
        assert_eq!(refused.message(), Some(format!("{arn} is disabled.").as_str()));
    }
    one.enable_key().key_id(arn).send().await?;
    two.encrypt().key_id(arn).plaintext(Blob::new("x")).send().await?;
    Ok(())
}

async fn pages([one, two, three]: &[Client; 3]) -> Checked {
    let mut made = HashSet::new();
    for node in [one, two, three, one, two] {
        let created = node.create_key().send().await?;
        made.insert(created.key_metadata().ok_or("no metadata")?.key_id().to_owned());
    }
    let mut listed = Vec::new();
    let mut pages = three.list_keys().limit(2).into_paginator().send();
    while let Some(page) = pages.try_next().await? {
        assert!(page.keys().len() <= 2);
        listed.extend(page.keys().iter().filter_map(|key| key.key_id()).map(str::to_owned));
    }
    let distinct: HashSet<String> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "a key stands on two pages");
    assert!(made.is_subset(&distinct), "a key is on no page");
    Ok(())
}
