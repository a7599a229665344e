//! The retry loop against nodes that are real to TLS and scripted in what they answer.

mod common;

use std::time::{Duration, Instant};

use common::{Answer, Cluster};
use conclave_client::{ClientError, PLAINTEXT_BYTES_MAX};
use conclave_proto::v1::{
    DescribeKeyRequest, DescribeKeyResponse, EnableKeyRequest, EnableKeyResponse, EncryptRequest,
};
use tonic::Code;

fn enable() -> EnableKeyRequest {
    EnableKeyRequest { key_id: "alias/a".to_owned() }
}

fn enabled() -> Answer {
    Answer::of(&EnableKeyResponse::default())
}

fn sealed() -> Answer {
    Answer::Error(Code::Unavailable, "KMSInternalException", "")
}

#[tokio::test]
async fn an_answer_comes_with_its_revision_and_request_id() {
    let cluster = Cluster::new("c1");
    let (endpoint, seen) = cluster.node(|_| enabled()).await;
    let client = cluster.client(&[&endpoint], 5_000);
    let reply = client.enable_key(enable()).await.unwrap();
    assert_eq!(reply.revision.unwrap().to_string(), "eu:42:7");
    assert_eq!(reply.endpoint, endpoint);
    let named = client.with_request_id("mine".parse().unwrap());
    named.enable_key(enable()).await.unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].request_id, reply.request_id.as_str());
    assert_eq!((seen[0].attempt_age_ms, seen[1].request_id.as_str()), (None, "mine"));
}

#[tokio::test]
async fn a_retry_keeps_its_request_id_and_states_its_age() {
    let cluster = Cluster::new("c1");
    let (endpoint, seen) =
        cluster.node(|number| if number < 2 { sealed() } else { enabled() }).await;
    cluster.client(&[&endpoint], 5_000).enable_key(enable()).await.unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|attempt| attempt.request_id == seen[0].request_id));
    assert_eq!(seen[0].attempt_age_ms, None);
    assert!(seen[1].attempt_age_ms.unwrap() >= 50);
    assert!(seen[2].attempt_age_ms.unwrap() >= 150);
}

#[tokio::test]
async fn a_sealed_node_is_passed_over_and_the_good_one_remembered() {
    let cluster = Cluster::new("c1");
    let (first, seen_first) = cluster.node(|_| sealed()).await;
    let (second, seen_second) = cluster.node(|_| enabled()).await;
    let client = cluster.client(&[&first, &second], 5_000);
    assert_eq!(client.enable_key(enable()).await.unwrap().endpoint, second);
    client.enable_key(enable()).await.unwrap();
    assert_eq!(seen_first.lock().unwrap().len(), 1);
    assert_eq!(seen_second.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let cluster = Cluster::new("c1");
    let refused = || Answer::Error(Code::NotFound, "NotFoundException", "eu:9:0");
    let (endpoint, seen) = cluster.node(move |_| refused()).await;
    let error = cluster.client(&[&endpoint], 5_000).enable_key(enable()).await.unwrap_err();
    let ClientError::Refused(refusal) = error else { panic!("{error}") };
    assert_eq!((refusal.name.as_str(), refusal.code), ("NotFoundException", Code::NotFound));
    assert_eq!((refusal.message.as_str(), refusal.revision.unwrap().log_index), ("said so", 9));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn silence_leaves_the_outcome_of_a_change_unknown_and_that_of_a_look_clear() {
    let cluster = Cluster::new("c1");
    let (endpoint, _) = cluster.node(|_| Answer::Silence).await;
    let client = cluster.client(&[&endpoint], 300);
    let error = client.enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
    let error = client.describe_key(DescribeKeyRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_node_that_hangs_leaves_time_for_the_others() {
    let cluster = Cluster::new("c1");
    let (hanging, _) = cluster.node(|_| Answer::Silence).await;
    let (good, seen) = cluster.node(|_| enabled()).await;
    let client = cluster.client(&[&hanging, &good], 5_000);
    assert_eq!(client.enable_key(enable()).await.unwrap().endpoint, good);
    assert!(seen.lock().unwrap()[0].attempt_age_ms.unwrap() >= 1_000);
}

#[tokio::test]
async fn a_doubt_outlives_later_refusals_to_serve() {
    let cluster = Cluster::new("c1");
    let unknown = || Answer::Error(Code::DeadlineExceeded, "OutcomeUnknownException", "");
    let (endpoint, _) = cluster.node(move |n| if n == 0 { unknown() } else { sealed() }).await;
    let error = cluster.client(&[&endpoint], 400).enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test]
async fn sealed_everywhere_is_unreachable_and_says_why() {
    let cluster = Cluster::new("c1");
    let (endpoint, _) = cluster.node(|_| sealed()).await;
    let error = cluster.client(&[&endpoint], 300).enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("said so"), "{error}");
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_done() {
    let cluster = Cluster::new("c1");
    let nobody = "127.0.0.1:1".parse().unwrap();
    let error = cluster.client(&[&nobody], 300).enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(error.name(), "Unreachable");
}

#[tokio::test]
async fn pinned_calls_are_one_attempt() {
    let cluster = Cluster::new("c1");
    let (first, seen) = cluster.node(|_| sealed()).await;
    let (second, _) = cluster.node(|_| enabled()).await;
    let client = cluster.client(&[&first, &second], 5_000);
    assert!(client.at(&first).unwrap().enable_key(enable()).await.is_err());
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(client.at(&second).unwrap().enable_key(enable()).await.unwrap().endpoint, second);
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_not_tried_again() {
    let (ours, theirs) = (Cluster::new("c1"), Cluster::new("c2"));
    let (endpoint, seen) = theirs.node(|_| Answer::of(&DescribeKeyResponse::default())).await;
    let started = Instant::now();
    let error = ours.client(&[&endpoint], 20_000).enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("unknown authority"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5) && seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_the_node_refuses_is_told_so_at_once() {
    let (ours, theirs) = (Cluster::new("c1"), Cluster::new("c1"));
    let (endpoint, seen) = theirs.node(|_| enabled()).await;
    let client = ours.client_trusting(&theirs, &[&endpoint], 3_000);
    let started = Instant::now();
    let error = client.enable_key(enable()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused this client's certificate"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5) && seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_large_plaintext_is_refused_before_it_is_sent() {
    let cluster = Cluster::new("c1");
    let (endpoint, seen) = cluster.node(|_| sealed()).await;
    let plaintext = vec![0; PLAINTEXT_BYTES_MAX + 1];
    let request = EncryptRequest { plaintext, ..EncryptRequest::default() };
    let error = cluster.client(&[&endpoint], 300).encrypt(request).await.unwrap_err();
    assert!(error.to_string().contains("envelope encryption"), "{error}");
    assert!(seen.lock().unwrap().is_empty());
}
