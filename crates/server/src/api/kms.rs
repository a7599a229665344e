//! The `Kms` service: a codec and nothing else. Messages become [`Request`]s, go down the
//! staircase, and come back as messages with their revision.

use std::sync::Arc;

use conclave_kms::{Refusal, Request, Response};
use conclave_proto::v1::{self, kms_server::Kms};
use tonic::Status;

use crate::listener::Connection;
use crate::making;
use crate::meta::{CallMeta, put_revision};
use crate::node::Node;
use crate::refusals::to_status;
use crate::staircase::{caller, may_ask_here, perform};

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
    let caller = caller(&who, &meta);
    // Whoever may not ask for it has nothing made for them.
    let request = if request.is_slow() && may_ask_here(&hosted, &caller, &request) {
        making::prepared(request).await?
    } else {
        request
    };
    let performed = perform(&hosted, &node.request_counters, &caller, meta.age, &request).await?;
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
    schedule_key_deletion: ScheduleKeyDeletionRequest => ScheduleKeyDeletionResponse;
    cancel_key_deletion: CancelKeyDeletionRequest => CancelKeyDeletionResponse;
    get_public_key: GetPublicKeyRequest => GetPublicKeyResponse;
    get_key_last_usage: GetKeyLastUsageRequest => GetKeyLastUsageResponse;
    rotate_key_on_demand: RotateKeyOnDemandRequest => RotateKeyOnDemandResponse;
    get_parameters_for_import: GetParametersForImportRequest => GetParametersForImportResponse;
    import_key_material: ImportKeyMaterialRequest => ImportKeyMaterialResponse;
    delete_imported_key_material: DeleteImportedKeyMaterialRequest => DeleteImportedKeyMaterialResponse;
    encrypt: EncryptRequest => EncryptResponse;
    decrypt: DecryptRequest => DecryptResponse;
    re_encrypt: ReEncryptRequest => ReEncryptResponse;
    generate_data_key: GenerateDataKeyRequest => GenerateDataKeyResponse;
    generate_data_key_without_plaintext: GenerateDataKeyWithoutPlaintextRequest => GenerateDataKeyWithoutPlaintextResponse;
    generate_data_key_pair: GenerateDataKeyPairRequest => GenerateDataKeyPairResponse;
    generate_data_key_pair_without_plaintext: GenerateDataKeyPairWithoutPlaintextRequest => GenerateDataKeyPairWithoutPlaintextResponse;
    generate_random: GenerateRandomRequest => GenerateRandomResponse;
    sign: SignRequest => SignResponse;
    verify: VerifyRequest => VerifyResponse;
    generate_mac: GenerateMacRequest => GenerateMacResponse;
    verify_mac: VerifyMacRequest => VerifyMacResponse;
    derive_shared_secret: DeriveSharedSecretRequest => DeriveSharedSecretResponse;
    encapsulate: EncapsulateRequest => EncapsulateResponse;
    decapsulate: DecapsulateRequest => DecapsulateResponse;
    create_principal: CreatePrincipalRequest => CreatePrincipalResponse;
    list_principals: ListPrincipalsRequest => ListPrincipalsResponse;
    delete_principal: DeletePrincipalRequest => DeletePrincipalResponse;
}
