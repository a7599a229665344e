//! The `Kms` service: a codec and nothing else. Messages become [`Request`]s, go down the
//! staircase, and come back as messages with their revision.

use std::sync::Arc;

use conclave_kms::{Refusal, Request, Response};
use conclave_proto::v1::{self, kms_server::Kms};
use tonic::Status;

use crate::listener::Connection;
use crate::meta::{CallMeta, put_revision};
use crate::node::Node;
use crate::refusals::to_status;
use crate::staircase::{caller, perform};

/// Answers the `Kms` service.
pub(crate) struct KmsApi(pub(crate) Arc<Node>);

/// One operation that is decided by `conclave_kms` from beginning to end.
pub(crate) async fn run<Q, R>(
    node: &Node,
    request: tonic::Request<Q>,
) -> Result<tonic::Response<R>, Status>
where
    Request: TryFrom<Q, Error = Refusal>,
    R: TryFrom<Response>,
{
    let meta = CallMeta::parse(request.metadata())?;
    let who = Connection::of_client(&request)?;
    let request = Request::try_from(request.into_inner()).map_err(|refusal| to_status(&refusal))?;
    let hosted = node.require_hosted()?;
    let _inside = node.admission.enter()?;
    let performed =
        perform(&hosted, &node.request_counters, &caller(&who, &meta), meta.age, &request).await?;
    let domain = hosted.domain_name();
    let (response, revision) = performed.into_response(&domain)?;
    let response = R::try_from(response)
        .map_err(|_| Status::internal("the answer is not of the kind that was asked for"))?;
    let mut response = tonic::Response::new(response);
    put_revision(response.metadata_mut(), &domain, revision);
    Ok(response)
}

macro_rules! operations {
    ($($name:ident: $request:ident => $response:ident;)*) => {
        #[tonic::async_trait]
        impl Kms for KmsApi {$(
            async fn $name(
                &self,
                request: tonic::Request<v1::$request>,
            ) -> Result<tonic::Response<v1::$response>, Status> {
                run(&self.0, request).await
            }
        )*}
    };
}

operations! {
    create_key: CreateKeyRequest => CreateKeyResponse;
    describe_key: DescribeKeyRequest => DescribeKeyResponse;
    list_keys: ListKeysRequest => ListKeysResponse;
    enable_key: EnableKeyRequest => EnableKeyResponse;
    disable_key: DisableKeyRequest => DisableKeyResponse;
    rotate_key_on_demand: RotateKeyOnDemandRequest => RotateKeyOnDemandResponse;
    schedule_key_deletion: ScheduleKeyDeletionRequest => ScheduleKeyDeletionResponse;
    cancel_key_deletion: CancelKeyDeletionRequest => CancelKeyDeletionResponse;
    encrypt: EncryptRequest => EncryptResponse;
    decrypt: DecryptRequest => DecryptResponse;
    re_encrypt: ReEncryptRequest => ReEncryptResponse;
    generate_data_key: GenerateDataKeyRequest => GenerateDataKeyResponse;
    generate_data_key_without_plaintext: GenerateDataKeyWithoutPlaintextRequest
        => GenerateDataKeyWithoutPlaintextResponse;
    generate_random: GenerateRandomRequest => GenerateRandomResponse;
    create_principal: CreatePrincipalRequest => CreatePrincipalResponse;
    list_principals: ListPrincipalsRequest => ListPrincipalsResponse;
    delete_principal: DeletePrincipalRequest => DeletePrincipalResponse;
}
