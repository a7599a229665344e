//! What other deployments have and this one has not: replicas in other regions, custom key stores.

use conclave_proto::v1;

use crate::common::{Service, created, tags};
use crate::{NO_KEY, arn, refused};

/// There is one domain, and no key store but the cluster itself.
#[test]
fn what_there_is_elsewhere() {
    let mut service = Service::new();
    let single = service.key("");
    let request = v1::CreateKeyRequest { multi_region: true, ..Default::default() };
    let multi = created(service.call("ada", request)).key_id;
    let replicate = |key: &str, region: &str| v1::ReplicateKeyRequest {
        key_id: key.to_owned(),
        replica_region: region.to_owned(),
        policy: "{}".to_owned(),
        description: "replica".to_owned(),
        tags: tags(&[("a", "b")]),
        ..Default::default()
    };
    let move_to = |key: &str, region: &str| v1::UpdatePrimaryRegionRequest {
        key_id: key.to_owned(),
        primary_region: region.to_owned(),
    };
    let no_key =
        format!("NotFoundException: Key '{}' does not exist", arn(&format!("key/{NO_KEY}")));
    let not_primary = format!(
        "UnsupportedOperationException: {} is not a multi-region primary key.",
        arn(&format!("key/{single}"))
    );
    let not_offered = |what: &str| {
        format!(
            "UnsupportedOperationException: {what} is not offered here, see docs/aws-compatibility.md"
        )
    };
    for (told, expected) in [
        (refused(&mut service, replicate(NO_KEY, "us")), no_key.clone()),
        (refused(&mut service, replicate(&single, "us")), not_primary.clone()),
        (
            refused(&mut service, replicate(&multi, "us")),
            not_offered("A replica in another domain"),
        ),
        (refused(&mut service, move_to(NO_KEY, "us")), no_key),
        (refused(&mut service, move_to(&single, "us")), not_primary),
        (
            refused(&mut service, move_to(&multi, "us")),
            not_offered("A primary key in another domain"),
        ),
        (
            refused(
                &mut service,
                v1::CreateCustomKeyStoreRequest { custom_key_store_name: "store".to_owned() },
            ),
            not_offered("A custom key store"),
        ),
    ] {
        assert_eq!(told, expected);
    }
    let long = "r".repeat(33);
    let mut policy = replicate(&multi, "us");
    policy.policy = "p".repeat(131_073);
    for refused in [
        refused(&mut service, replicate(&multi, "")),
        refused(&mut service, replicate(&multi, &long)),
        refused(&mut service, move_to(&multi, "")),
        refused(&mut service, move_to(&multi, &long)),
        refused(&mut service, policy),
        refused(&mut service, v1::CreateCustomKeyStoreRequest::default()),
        refused(&mut service, v1::ConnectCustomKeyStoreRequest::default()),
        refused(
            &mut service,
            v1::DeleteCustomKeyStoreRequest { custom_key_store_id: "c".repeat(65) },
        ),
    ] {
        assert!(refused.starts_with("ValidationException: "), "{refused}");
    }

    let told = service.call("aud", v1::DescribeCustomKeyStoresRequest::default());
    let listed = v1::DescribeCustomKeyStoresResponse::try_from(told.reply.unwrap()).unwrap();
    assert_eq!(listed, v1::DescribeCustomKeyStoresResponse::default());
    let (id, name) = ("cks-1".to_owned(), "store".to_owned());
    let marker = v1::DescribeCustomKeyStoresRequest { marker: id.clone(), ..Default::default() };
    assert!(refused(&mut service, marker).starts_with("InvalidMarkerException: "));
    let unknown = |given: &str| {
        format!(
            "CustomKeyStoreNotFoundException: Custom key store '{given}' does not exist: there are none here"
        )
    };
    let by_id = v1::DescribeCustomKeyStoresRequest {
        custom_key_store_id: id.clone(),
        ..Default::default()
    };
    let by_name = v1::DescribeCustomKeyStoresRequest {
        custom_key_store_name: name.clone(),
        ..Default::default()
    };
    assert_eq!(refused(&mut service, by_id), unknown(&id));
    assert_eq!(refused(&mut service, by_name), unknown(&name));
    macro_rules! unknown {
        ($($message:ident),*) => {$(
            let request = v1::$message { custom_key_store_id: id.clone() };
            assert_eq!(refused(&mut service, request), unknown(&id));
        )*};
    }
    unknown!(
        ConnectCustomKeyStoreRequest,
        DisconnectCustomKeyStoreRequest,
        UpdateCustomKeyStoreRequest,
        DeleteCustomKeyStoreRequest
    );
}
