//! The table: what is told of a key, called KEY, and of its alias, ALIAS.

pub(crate) const OK: &str = "ok";
const DIS: &str = "DisabledException: KEY is disabled.";
const DEL: &str = "KMSInvalidStateException: KEY is pending deletion.";
const IMP: &str = "KMSInvalidStateException: KEY is pending import.";
const NOT_DEL: &str = "KMSInvalidStateException: KEY is not pending deletion.";
const NO_NEXT: &str =
    "KMSInvalidStateException: No available key material pending rotation for the key: KEY.";
const NONE: &str = "NotFoundException: Key 'KEY' does not exist";
const NO_NAME: &str = "NotFoundException: Alias ALIAS is not found.";
const KEPT: &str = "NotFoundException: Key 'KEY' was not destroyed here: it exists, or never did";
const NO_BLOB: &str = "InvalidCiphertextException: ";
const OURS: &str =
    "UnsupportedOperationException: KEY origin is AWS_KMS which is not valid for this operation.";
const THEIRS: &str =
    "UnsupportedOperationException: KEY origin is EXTERNAL which is not valid for this operation.";
const ONE: &str = "UnsupportedOperationException: KEY is not a multi-region primary key.";

/// Of origin AWS_KMS: Enabled, Disabled, PendingDeletion, destroyed, never there; of origin EXTERNAL:
/// Enabled, Disabled, PendingDeletion, PendingImport, destroyed.
#[rustfmt::skip]
pub(crate) const TABLE: &[(&str, [&str; 5], [&str; 5])] = &[
    ("DescribeKey", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("GetKeyLastUsage", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("GetKeyTombstone", [KEPT, KEPT, KEPT, OK, KEPT], [KEPT, KEPT, KEPT, KEPT, OK]),
    ("GetPublicKey", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),

    ("EnableKey", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, IMP, NONE]),
    ("DisableKey", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, IMP, NONE]),
    ("ScheduleKeyDeletion", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("CancelKeyDeletion", [NOT_DEL, NOT_DEL, OK, NONE, NONE], [NOT_DEL, NOT_DEL, OK, NOT_DEL, NONE]),

    ("EnableKeyRotation", [OK, DIS, DEL, NONE, NONE], [THEIRS, THEIRS, THEIRS, THEIRS, NONE]),
    ("DisableKeyRotation", [OK, DIS, DEL, NONE, NONE], [THEIRS, THEIRS, THEIRS, THEIRS, NONE]),
    // AWS KMS's table refuses a key that is pending deletion, its page of the operation says that the
    // status is false then; it is what the clients' waiting loops live on, so it is answered. Of
    // imported material the table is older than its rotation on demand, of which this tells.
    ("GetKeyRotationStatus", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("ListKeyRotations", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("RotateKeyOnDemand", [OK, DIS, DEL, NONE, NONE], [NO_NEXT, DIS, DEL, IMP, NONE]),

    // AWS KMS's page of the operation names Enabled and PendingImport only, its table Disabled too.
    ("GetParametersForImport", [OURS, OURS, OURS, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("ImportKeyMaterial", [OURS, OURS, OURS, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("DeleteImportedKeyMaterial", [OURS, OURS, OURS, NONE, NONE], [OK, OK, OK, OK, NONE]),

    // Where AWS KMS answers one of two exceptions of a key that is pending deletion
    // (DisabledException or KMSInvalidStateException), here it is always the latter.
    ("Encrypt", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    // Nobody can tell what key a ciphertext was of that is not there.
    ("Decrypt", [OK, DIS, DEL, NO_BLOB, NO_BLOB], [OK, DIS, DEL, IMP, NO_BLOB]),
    ("Decrypt, named", [OK, DIS, DEL, NONE, NO_BLOB], [OK, DIS, DEL, IMP, NONE]),
    ("ReEncrypt, from", [OK, DIS, DEL, NO_BLOB, NO_BLOB], [OK, DIS, DEL, IMP, NO_BLOB]),
    ("ReEncrypt, to", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("GenerateDataKey", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("GenerateDataKeyWithoutPlaintext", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("GenerateDataKeyPair", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("GenerateDataKeyPairWithoutPlaintext", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("Sign", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("Verify", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("GenerateMac", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("VerifyMac", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("DeriveSharedSecret", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("Encapsulate", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("Decapsulate", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),

    ("GetKeyPolicy", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    // Whoever a policy keeps from calling a deletion off must be able to be let.
    ("PutKeyPolicy", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("ListKeyPolicies", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("CreateGrant", [OK, DIS, DEL, NONE, NONE], [OK, DIS, DEL, IMP, NONE]),
    ("ListGrants", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("RetireGrant", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("RetireGrant, by token", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("RevokeGrant", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),

    ("CreateAlias", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("UpdateAlias, to", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("UpdateAlias, from", [OK, OK, OK, NO_NAME, NO_NAME], [OK, OK, OK, OK, NO_NAME]),
    ("DeleteAlias", [OK, OK, OK, NO_NAME, NO_NAME], [OK, OK, OK, OK, NO_NAME]),
    ("ListAliases", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("TagResource", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("UntagResource", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),
    ("ListResourceTags", [OK, OK, OK, NONE, NONE], [OK, OK, OK, OK, NONE]),
    ("UpdateKeyDescription", [OK, OK, DEL, NONE, NONE], [OK, OK, DEL, OK, NONE]),

    // No key here has replicas, whatever its state: what it is comes before what it is like.
    ("ReplicateKey", [ONE, ONE, ONE, NONE, NONE], [ONE, ONE, ONE, ONE, NONE]),
    ("UpdatePrimaryRegion", [ONE, ONE, ONE, NONE, NONE], [ONE, ONE, ONE, ONE, NONE]),
];

/// Operations that name no key.
pub(crate) const OF_NO_KEY: &[&str] = &[
    "CreateKey",
    "ListKeys",
    "GenerateRandom",
    "ListRetirableGrants",
    "CreatePrincipal",
    "DeletePrincipal",
    "ListPrincipals",
    "CreateCustomKeyStore",
    "DescribeCustomKeyStores",
    "ConnectCustomKeyStore",
    "DisconnectCustomKeyStore",
    "UpdateCustomKeyStore",
    "DeleteCustomKeyStore",
];
