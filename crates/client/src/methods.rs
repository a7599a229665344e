//! The calls of the native face, one method each.

use conclave_proto::v1::{
    self, audit_client::AuditClient, cluster_client::ClusterClient, kms_client::KmsClient,
};
use tonic::transport::Channel;

use crate::{
    call::{Client, Effect, Reply},
    error::ClientError,
    limits::{MESSAGE_BYTES_MAX, PLAINTEXT_BYTES_MAX},
    stream::ItemStream,
    whole::Whole,
};

macro_rules! unary {
    ($connect:ident: $($(#[$doc:meta])* $effect:ident $method:ident($request:ident) -> $response:ident;)*) => {
        impl Client {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// As [`Client::call`].
            pub async fn $method(
                &self,
                request: v1::$request,
            ) -> Result<Reply<v1::$response>, ClientError> {
                self.call(Effect::$effect, request, |channel, request| async move {
                    $connect(channel).$method(request).await
                })
                .await
            }
        )*}
    };
}

unary! { kms:
    /// Makes a key.
    Acts create_key(CreateKeyRequest) -> CreateKeyResponse;
    /// Describes a key.
    Reads describe_key(DescribeKeyRequest) -> DescribeKeyResponse;
    /// Lists keys, a page at a time.
    Reads list_keys(ListKeysRequest) -> ListKeysResponse;
    /// Lets a key be used again.
    Acts enable_key(EnableKeyRequest) -> EnableKeyResponse;
    /// Forbids every use of a key.
    Acts disable_key(DisableKeyRequest) -> DisableKeyResponse;
    /// Gives a key a new version.
    Acts rotate_key_on_demand(RotateKeyOnDemandRequest) -> RotateKeyOnDemandResponse;
    /// Gives a key a new version every so many days.
    Acts enable_key_rotation(EnableKeyRotationRequest) -> EnableKeyRotationResponse;
    /// No more.
    Acts disable_key_rotation(DisableKeyRotationRequest) -> DisableKeyRotationResponse;
    /// Whether and when a key is rotated.
    Reads get_key_rotation_status(GetKeyRotationStatusRequest) -> GetKeyRotationStatusResponse;
    /// The versions of a key, a page at a time.
    Reads list_key_rotations(ListKeyRotationsRequest) -> ListKeyRotationsResponse;
    /// What became of a key that was destroyed.
    Reads get_key_tombstone(GetKeyTombstoneRequest) -> GetKeyTombstoneResponse;
    /// Plans a key's deletion.
    Acts schedule_key_deletion(ScheduleKeyDeletionRequest) -> ScheduleKeyDeletionResponse;
    /// Takes a planned deletion back.
    Acts cancel_key_deletion(CancelKeyDeletionRequest) -> CancelKeyDeletionResponse;
    /// A key's policy.
    Reads get_key_policy(GetKeyPolicyRequest) -> GetKeyPolicyResponse;
    /// Replaces a key's policy.
    Acts put_key_policy(PutKeyPolicyRequest) -> PutKeyPolicyResponse;
    /// Grants somebody the use of a key.
    Acts create_grant(CreateGrantRequest) -> CreateGrantResponse;
    /// Lists the grants of a key, a page at a time.
    Reads list_grants(ListGrantsRequest) -> ListGrantsResponse;
    /// Lists the grants that somebody may retire, a page at a time.
    Reads list_retirable_grants(ListRetirableGrantsRequest) -> ListRetirableGrantsResponse;
    /// Ends a grant.
    Acts retire_grant(RetireGrantRequest) -> RetireGrantResponse;
    /// Ends a grant of a key that the caller administers.
    Acts revoke_grant(RevokeGrantRequest) -> RevokeGrantResponse;
    /// What to wrap key material with that is to be imported.
    Acts get_parameters_for_import(GetParametersForImportRequest) -> GetParametersForImportResponse;
    /// Imports key material, wrapped as its parameters say.
    Acts import_key_material(ImportKeyMaterialRequest) -> ImportKeyMaterialResponse;
    /// Deletes imported key material.
    Acts delete_imported_key_material(DeleteImportedKeyMaterialRequest) -> DeleteImportedKeyMaterialResponse;
    /// Decrypts a ciphertext.
    Acts decrypt(DecryptRequest) -> DecryptResponse;
    /// Encrypts a ciphertext under another key or context, inside the cluster.
    Acts re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
    /// Makes a data key, in clear and encrypted.
    Acts generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
    /// Makes a data key, encrypted alone.
    Acts generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest)
        -> GenerateDataKeyWithoutPlaintextResponse;
    /// Makes a data key pair, its private key in clear and encrypted.
    Acts generate_data_key_pair(GenerateDataKeyPairRequest) -> GenerateDataKeyPairResponse;
    /// Makes a data key pair, its private key encrypted alone.
    Acts generate_data_key_pair_without_plaintext(GenerateDataKeyPairWithoutPlaintextRequest)
        -> GenerateDataKeyPairWithoutPlaintextResponse;
    /// The public half of a key pair.
    Reads get_public_key(GetPublicKeyRequest) -> GetPublicKeyResponse;
    /// When a key was last used, and for what.
    Reads get_key_last_usage(GetKeyLastUsageRequest) -> GetKeyLastUsageResponse;
    /// Signs.
    Acts sign(SignRequest) -> SignResponse;
    /// Verifies a signature.
    Acts verify(VerifyRequest) -> VerifyResponse;
    /// Makes a MAC.
    Acts generate_mac(GenerateMacRequest) -> GenerateMacResponse;
    /// Verifies a MAC.
    Acts verify_mac(VerifyMacRequest) -> VerifyMacResponse;
    /// The secret shared with the owner of another key pair.
    Acts derive_shared_secret(DeriveSharedSecretRequest) -> DeriveSharedSecretResponse;
    /// Makes a shared secret, in clear and encapsulated.
    Acts encapsulate(EncapsulateRequest) -> EncapsulateResponse;
    /// Opens an encapsulated secret.
    Acts decapsulate(DecapsulateRequest) -> DecapsulateResponse;
    /// Random bytes.
    Acts generate_random(GenerateRandomRequest) -> GenerateRandomResponse;
    /// Gives a key a name.
    Acts create_alias(CreateAliasRequest) -> CreateAliasResponse;
    /// Gives a name to another key.
    Acts update_alias(UpdateAliasRequest) -> UpdateAliasResponse;
    /// Takes a name away.
    Acts delete_alias(DeleteAliasRequest) -> DeleteAliasResponse;
    /// Lists names, a page at a time.
    Reads list_aliases(ListAliasesRequest) -> ListAliasesResponse;
    /// Puts tags on a key.
    Acts tag_resource(TagResourceRequest) -> TagResourceResponse;
    /// Takes tags off a key.
    Acts untag_resource(UntagResourceRequest) -> UntagResourceResponse;
    /// A key's tags, a page at a time.
    Reads list_resource_tags(ListResourceTagsRequest) -> ListResourceTagsResponse;
    /// Describes a key anew.
    Acts update_key_description(UpdateKeyDescriptionRequest) -> UpdateKeyDescriptionResponse;
    /// Lets a client certificate's name in, with roles.
    Acts create_principal(CreatePrincipalRequest) -> CreatePrincipalResponse;
    /// Lists principals, a page at a time.
    Reads list_principals(ListPrincipalsRequest) -> ListPrincipalsResponse;
    /// Shuts a principal out.
    Acts delete_principal(DeletePrincipalRequest) -> DeletePrincipalResponse;
}

unary! { cluster:
    /// Prepares the founding of a cluster: makes the operators' shares, commits nothing.
    Acts prepare_init(PrepareInitRequest) -> PrepareInitResponse;
    /// Founds the prepared cluster.
    Acts commit_init(CommitInitRequest) -> CommitInitResponse;
    /// Gives operator shares to the node that is called.
    Acts unseal(UnsealRequest) -> UnsealResponse;
    /// Seals the node that is called.
    Acts seal(SealRequest) -> SealResponse;
    /// How the cluster, or one node, stands.
    Reads status(StatusRequest) -> StatusResponse;
    /// Admits nodes.
    Acts add_nodes(AddNodesRequest) -> AddNodesResponse;
    /// Removes a node.
    Acts remove_node(RemoveNodeRequest) -> RemoveNodeResponse;
    /// Deals a new root key.
    Acts rotate_root(RotateRootRequest) -> RotateRootResponse;
    /// Prepares new operator shares: they count once they are committed.
    Acts prepare_operator_shares(PrepareOperatorSharesRequest) -> PrepareOperatorSharesResponse;
    /// Makes the prepared operator shares count.
    Acts commit_operator_shares(CommitOperatorSharesRequest) -> RotateRootResponse;
    /// Opens the node that is called with operator shares alone.
    Acts recover(RecoverRequest) -> RecoverResponse;
    /// Leaves a node out of a pending dealing.
    Acts exclude_node(ExcludeNodeRequest) -> ExcludeNodeResponse;
    /// Takes a node out of service, or puts it back.
    Acts drain_node(DrainNodeRequest) -> DrainNodeResponse;
    /// Puts a new domain key to use.
    Acts rotate_domain_key(RotateDomainKeyRequest) -> RotateDomainKeyResponse;
}

unary! { audit:
    /// The chain's size and hash on the node that answers.
    Reads head(AuditHeadRequest) -> AuditHeadResponse;
}

impl Client {
    /// Encrypts a small plaintext.
    ///
    /// # Errors
    /// [`ClientError::PlaintextTooLarge`] beyond [`PLAINTEXT_BYTES_MAX`], before anything is sent;
    /// else as [`Client::call`].
    pub async fn encrypt(
        &self,
        request: v1::EncryptRequest,
    ) -> Result<Reply<v1::EncryptResponse>, ClientError> {
        let bytes = request.plaintext.len();
        if bytes > PLAINTEXT_BYTES_MAX {
            return Err(ClientError::PlaintextTooLarge { bytes });
        }
        self.call(Effect::Acts, request, |channel, request| async move {
            kms(channel).encrypt(request).await
        })
        .await
    }

    /// The audit entries that match. The start is retried, a stream that broke is not.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list_audit(
        &self,
        request: v1::ListAuditRequest,
    ) -> Result<Reply<ItemStream<v1::ListAuditResponse>>, ClientError> {
        let reply = self.call(Effect::Reads, request, |channel, request| async move {
            audit(channel).list(request).await
        });
        Ok(ItemStream::of(reply.await?, self.timeout()))
    }

    /// The whole audit log with what opens it. The start is retried, a stream that broke is not.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn export_audit(
        &self,
        request: v1::ExportAuditRequest,
    ) -> Result<Reply<ItemStream<v1::ExportAuditResponse>>, ClientError> {
        let reply = self.call(Effect::Reads, request, |channel, request| async move {
            audit(channel).export(request).await
        });
        Ok(ItemStream::of(reply.await?, self.timeout()))
    }
}

fn kms(channel: Channel) -> KmsClient<Whole> {
    KmsClient::new(Whole(channel))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn cluster(channel: Channel) -> ClusterClient<Whole> {
    ClusterClient::new(Whole(channel))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn audit(channel: Channel) -> AuditClient<Whole> {
    AuditClient::new(Whole(channel))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
