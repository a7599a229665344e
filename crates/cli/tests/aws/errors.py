"""Refusals, by name and message as they were recorded from AWS KMS, to the letter."""

import os
import uuid

from cryptography.hazmat.primitives.asymmetric import ec

from harness import ACCOUNT, ENDPOINTS, NODES, REGION, client, make_key, node, refused, unchecked
from keys import KINDS, RSA, made
from usage import SYMMETRIC, spki

INVALID = "ValidationException"
DETECTED = "1 validation error detected: "
# Ours goes on after the words of AWS: where this happens, it says what to do instead.
ENVELOPE = "; encrypt larger data under a data key (GenerateDataKey, envelope encryption)"
DRY_RUN = "The request would have succeeded, but the DryRun option is set."


def arn_of(resource):
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:{resource}"


def keys_that_are_not_there():
    unknown = str(uuid.uuid4())
    arn = arn_of(f"key/{unknown}")
    for name in ("fake-key-id", unknown.replace("-", ""), "mrk-fake"):
        message = f"Invalid keyId '{name}'"
        refused(name, node().describe_key, "NotFoundException", message, KeyId=name)
        arguments = {"KeyId": name, "Plaintext": b"x"}
        refused(name, node().encrypt, "NotFoundException", message, **arguments)
    for name in (unknown, arn):
        message = f"Key '{arn}' does not exist"
        for call in (node().describe_key, node().disable_key, node().get_public_key):
            refused(name, call, "NotFoundException", message, KeyId=name)
    elsewhere = made[SYMMETRIC].replace(f":{REGION}:", ":us-east-1:")
    message = "Invalid arn us-east-1"
    refused("region", node().describe_key, "NotFoundException", message, KeyId=elsewhere)
    message = f"Alias {arn_of('alias/nobody')} is not found."
    for name in ("alias/nobody", arn_of("alias/nobody")):
        refused("alias", node().describe_key, "NotFoundException", message, KeyId=name)
    code = "NotFoundException"
    refused("alias managed", node().disable_key, code, lambda told: told, KeyId="alias/aws-clients")


def keys_that_cannot_be():
    create = node().create_key
    message = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
    for spec in ("HMAC_256", "RSA_2048", "ECC_NIST_P256", "ML_DSA_44", "ML_KEM_768"):
        refused(f"{spec} without usage", create, INVALID, message, KeySpec=spec)
    sets = {
        "KeySpec": {spec for spec, _ in KINDS} | {"SM2"},
        "KeyUsage": {usage for _, usage in KINDS},
        "Origin": {"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"},
    }
    for name, values in sets.items():
        member = name[0].lower() + name[1:]
        head = (
            f"{DETECTED}Value 'X' at '{member}' failed to satisfy constraint: "
            "Member must satisfy enum value set: ["
        )

        # The order of the set is arbitrary.
        def told_all(told, head=head, values=values):
            listed = told.removeprefix(head).removesuffix("]").split(", ")
            return told.startswith(head) and told.endswith("]") and sorted(listed) == sorted(values)

        arguments = {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY", name: "X"}
        refused(f"bad {name}", create, INVALID, told_all, **arguments)
    for usage, spec in (
        ("KEY_AGREEMENT", "RSA_2048"),
        ("SIGN_VERIFY", "SYMMETRIC_DEFAULT"),
        ("ENCRYPT_DECRYPT", "HMAC_256"),
        ("ENCRYPT_DECRYPT", "ECC_NIST_P256"),
        ("KEY_AGREEMENT", "ECC_SECG_P256K1"),
    ):
        message = f"KeyUsage {usage} is not compatible with KeySpec {spec}"
        refused(message, create, INVALID, message, KeyUsage=usage, KeySpec=spec)


def tags_that_cannot_be():
    def tag(key, value="v"):
        return {"TagKey": key, "TagValue": value}

    for what, message, tags in (
        ("duplicate", "Duplicate tag keys", [tag("a"), tag("a", "w")]),
        ("too many", "Too many tags", [tag(f"k{number}") for number in range(51)]),
        ("reserved", "Tags beginning with aws: are reserved", [tag("aws:x")]),
        ("reserved, in any case", "Tags beginning with aws: are reserved", [tag("aWs:x")]),
    ):
        refused(f"tags, {what}", unchecked.create_key, "TagException", message, Tags=tags)
    for member, most, tags in (
        ("tagKey", 128, [tag("k" * 129)]),
        ("tagValue", 256, [tag("k", "v" * 257)]),
    ):
        value = tags[0]["TagKey"] if member == "tagKey" else tags[0]["TagValue"]
        message = (
            f"{DETECTED}Value '{value}' at 'tags.1.member.{member}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {most}"
        )
        refused(f"tags, long {member}", unchecked.create_key, INVALID, message, Tags=tags)


def keys_for_something_else():
    symmetric, signing = made[SYMMETRIC], made["ECC_NIST_P256", "SIGN_VERIFY"]
    public = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    sign = {"SigningAlgorithm": "ECDSA_SHA_256", "Message": b"m"}
    mac = {"MacAlgorithm": "HMAC_SHA_256", "Message": b"m"}
    for operation, key, usage, arguments in (
        ("Sign", symmetric, "ENCRYPT_DECRYPT", sign),
        ("Verify", symmetric, "ENCRYPT_DECRYPT", {**sign, "Signature": b"s"}),
        ("GenerateMac", symmetric, "ENCRYPT_DECRYPT", mac),
        ("VerifyMac", signing, "SIGN_VERIFY", {**mac, "Mac": b"m"}),
        ("Encrypt", signing, "SIGN_VERIFY", {"Plaintext": b"p"}),
        ("GenerateDataKey", signing, "SIGN_VERIFY", {"KeySpec": "AES_256"}),
        (
            "DeriveSharedSecret",
            signing,
            "SIGN_VERIFY",
            {"KeyAgreementAlgorithm": "ECDH", "PublicKey": public},
        ),
        ("Encapsulate", symmetric, "ENCRYPT_DECRYPT", {"EncapsulationAlgorithm": "ML_KEM"}),
    ):
        message = f"{key} key usage is {usage} which is not valid for {operation}."
        call = getattr(node(), METHODS[operation])
        refused(operation, call, "InvalidKeyUsageException", message, KeyId=key, **arguments)
    key = made["HMAC_224", "GENERATE_VERIFY_MAC"]
    message = "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224."
    refused("MAC", node().generate_mac, "InvalidKeyUsageException", message, KeyId=key, **mac)


METHODS = {
    "Sign": "sign", "Verify": "verify", "GenerateMac": "generate_mac", "VerifyMac": "verify_mac",
    "Encrypt": "encrypt", "GenerateDataKey": "generate_data_key",
    "DeriveSharedSecret": "derive_shared_secret", "Encapsulate": "encapsulate",
}  # fmt: skip


def ciphertexts_that_do_not_open():
    key, other = made[SYMMETRIC], make_key()["Arn"]
    context = {"a": "b"}
    sealed = NODES[0].encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    message = "The key ID in the request does not identify a CMK that can perform this operation."
    arguments = {"CiphertextBlob": blob, "EncryptionContext": context, "KeyId": other}
    refused("wrong key", NODES[1].decrypt, "IncorrectKeyException", message, **arguments)
    arguments = {"SourceEncryptionContext": context, "DestinationKeyId": other}
    arguments = {"CiphertextBlob": blob, "SourceKeyId": other, **arguments}
    refused("ReEncrypt", NODES[1].re_encrypt, "IncorrectKeyException", message, **arguments)
    code = "InvalidCiphertextException"
    for what, given in (("none", {}), ("wrong", {"a": "c"}), ("more", {"a": "b", "c": "d"})):
        arguments = {"CiphertextBlob": blob, "EncryptionContext": given}
        refused(f"context, {what}", NODES[2].decrypt, code, "", **arguments)
    flipped = [bytearray(blob) for _ in range(4)]
    for number, place in enumerate((0, len(blob) // 3, len(blob) // 2, -1)):
        flipped[number][place] ^= 1
    corrupt = [bytes(one) for one in flipped] + [b"\0", blob[:-1], blob + b"\0", os.urandom(6144)]
    for number, given in enumerate(corrupt):
        arguments = {"CiphertextBlob": given, "EncryptionContext": context}
        refused(f"corrupt {number}", node().decrypt, code, "", **arguments)
    pair = made["RSA_2048", "ENCRYPT_DECRYPT"]
    arguments = {"KeyId": pair, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    garbage = os.urandom(256)
    refused("OAEP", node().decrypt, code, "", CiphertextBlob=garbage, **arguments)
    kem = {"KeyId": made["ML_KEM_768", "ENCAPSULATE_DECAPSULATE"]}
    kem |= {"EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": b"short"}
    refused("ML-KEM", node().decapsulate, code, "", **kem)


def signatures_and_macs_that_do_not_hold():
    for spec, algorithm in (
        ("RSA_2048", "RSASSA_PSS_SHA_256"),
        ("ECC_NIST_P256", "ECDSA_SHA_256"),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
        ("ML_DSA_44", "ML_DSA_SHAKE_256"),
    ):
        key = {"KeyId": made[spec, "SIGN_VERIFY"], "SigningAlgorithm": algorithm}
        signature = NODES[0].sign(Message=b"m", **key)["Signature"]
        for what, given in (
            ("message", {"Message": b"n", "Signature": signature}),
            ("signature", {"Message": b"m", "Signature": signature[:-1] + b"\0\0"}),
            ("garbage", {"Message": b"m", "Signature": b"garbage"}),
        ):
            code = "KMSInvalidSignatureException"
            refused(f"{algorithm}, {what}", NODES[1].verify, code, "", **key, **given)
    key = {"KeyId": made["HMAC_256", "GENERATE_VERIFY_MAC"], "MacAlgorithm": "HMAC_SHA_256"}
    mac = NODES[0].generate_mac(Message=b"m", **key)["Mac"]
    for message, given in ((b"n", mac), (b"m", mac[:-1]), (b"m", b"garbage")):
        arguments = {"Message": message, "Mac": given}
        refused("MAC", NODES[1].verify_mac, "KMSInvalidMacException", "", **key, **arguments)
    for spec, algorithm in (
        ("RSA_2048", "RSASSA_PSS_SHA_256"),
        ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
        ("ECC_NIST_P384", "ECDSA_SHA_384"),
    ):
        message = f"Digest is invalid length for algorithm {algorithm}."
        key = {"KeyId": made[spec, "SIGN_VERIFY"], "SigningAlgorithm": algorithm}
        digest = {"Message": b"short", "MessageType": "DIGEST"}
        refused("digest", node().sign, INVALID, message, **key, **digest)


def what_is_too_large_or_missing():
    constraint = "failed to satisfy constraint: Member must have"
    message = f"{DETECTED}Value at 'plaintext' {constraint} length less than or equal to 4096"
    arguments = {"KeyId": made[SYMMETRIC], "Plaintext": b"x" * 4097}
    refused("plaintext", node().encrypt, INVALID, message + ENVELOPE, **arguments)
    for spec, sha_1, sha_256 in zip(RSA, (214, 342, 470), (190, 318, 446)):
        for algorithm, most in (("RSAES_OAEP_SHA_1", sha_1), ("RSAES_OAEP_SHA_256", sha_256)):
            message = (
                f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes."
            )
            arguments = {"EncryptionAlgorithm": algorithm, "Plaintext": b"x" * (most + 1)}
            key = made[spec, "ENCRYPT_DECRYPT"]
            refused(spec, node().encrypt, INVALID, message, KeyId=key, **arguments)
    call, at = unchecked.generate_random, "at 'numberOfBytes'"
    refused("no number", call, INVALID, "NumberOfBytes is required.")
    message = f"{DETECTED}Value '0' {at} {constraint} value greater than or equal to 1"
    refused("0", call, INVALID, message, NumberOfBytes=0)
    message = f"{DETECTED}Value '1025' {at} {constraint} value less than or equal to 1024"
    refused("1025", call, INVALID, message, NumberOfBytes=1025)
    for window in (6, 31):
        arguments = {"KeyId": made[SYMMETRIC], "PendingWindowInDays": window}
        what = f"Value '{window}' at 'pendingWindowInDays'"
        call = unchecked.schedule_key_deletion
        refused(what, call, INVALID, lambda told, what=what: what in told, **arguments)
    null = f"{DETECTED}Value null at 'keyId' failed to satisfy constraint: Member must not be null"
    for call in (unchecked.describe_key, unchecked.enable_key, unchecked.get_public_key):
        refused("no key", call, INVALID, null)


def keys_in_the_wrong_state():
    key = make_key()["Arn"]
    blob = NODES[0].encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    def uses(code, message):
        for what, call, arguments in (
            ("Encrypt", NODES[0].encrypt, {"KeyId": key, "Plaintext": b"x"}),
            ("Decrypt", NODES[1].decrypt, {"CiphertextBlob": blob}),
            ("GenerateDataKey", NODES[2].generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
            ("RotateKeyOnDemand", NODES[0].rotate_key_on_demand, {"KeyId": key}),
            ("dry run", NODES[1].encrypt, {"KeyId": key, "Plaintext": b"x", "DryRun": True}),
        ):
            refused(f"{what}, {message}", call, code, message, **arguments)

    NODES[2].disable_key(KeyId=key)
    uses("DisabledException", f"{key} is disabled.")
    NODES[1].schedule_key_deletion(KeyId=key)
    code, message = "KMSInvalidStateException", f"{key} is pending deletion."
    uses(code, message)
    for call in (node().enable_key, node().disable_key, node().schedule_key_deletion):
        refused("pending deletion", call, code, message, KeyId=key)
    external = make_key(Origin="EXTERNAL")["Arn"]
    message = f"{external} is pending import."
    refused("import", node().encrypt, code, message, KeyId=external, Plaintext=b"x")
    refused("import", node().enable_key, code, message, KeyId=external)


def rotations_that_cannot_be():
    code = "UnsupportedOperationException"
    for kind in (("RSA_2048", "SIGN_VERIFY"), ("HMAC_256", "GENERATE_VERIFY_MAC")):
        refused(f"{kind}", node().rotate_key_on_demand, code, "", KeyId=made[kind])
    key = make_key()["Arn"]
    for _ in range(25):
        node().rotate_key_on_demand(KeyId=key)
    message = (
        "The on-demand rotations limit has been reached for the given keyId. "
        f"No more on-demand rotations can be performed for this key: {key}"
    )
    # boto3 tries again after this one; what a retry is told is shortened to 128 bytes.
    once = client(ENDPOINTS[1], retries={"total_max_attempts": 1}).rotate_key_on_demand
    refused("rotations", once, "LimitExceededException", message, KeyId=key)

    def begins_so(told):
        return told.endswith("…") and message.startswith(told[:-1]) and len(told.encode()) <= 128

    again = node().rotate_key_on_demand
    refused("rotations, tried again", again, "LimitExceededException", begins_so, KeyId=key)


def dry_runs_do_nothing():
    symmetric, signing = made[SYMMETRIC], made["ECC_NIST_P256", "SIGN_VERIFY"]
    hmac_key, agreeing = made["HMAC_256", "GENERATE_VERIFY_MAC"], made["ECC_NIST_P256", "KEY_AGREEMENT"]
    kem = made["ML_KEM_768", "ENCAPSULATE_DECAPSULATE"]
    blob = NODES[0].encrypt(KeyId=symmetric, Plaintext=b"x")["CiphertextBlob"]
    sign = {"KeyId": signing, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    mac = {"KeyId": hmac_key, "Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    ml_kem = {"KeyId": kem, "EncapsulationAlgorithm": "ML_KEM"}
    encapsulated = NODES[0].encapsulate(**ml_kem)["SharedSecretCiphertextBlob"]
    public = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    pair = {"KeyId": symmetric, "KeyPairSpec": "ECC_NIST_P256"}
    for name, arguments in (
        ("encrypt", {"KeyId": symmetric, "Plaintext": b"x"}),
        ("decrypt", {"CiphertextBlob": blob}),
        ("re_encrypt", {"CiphertextBlob": blob, "DestinationKeyId": symmetric}),
        ("generate_data_key", {"KeyId": symmetric, "KeySpec": "AES_256"}),
        ("generate_data_key_without_plaintext", {"KeyId": symmetric, "KeySpec": "AES_256"}),
        ("generate_data_key_pair", pair),
        ("generate_data_key_pair_without_plaintext", pair),
        ("sign", sign),
        ("verify", {**sign, "Signature": NODES[0].sign(**sign)["Signature"]}),
        ("generate_mac", mac),
        ("verify_mac", {**mac, "Mac": NODES[0].generate_mac(**mac)["Mac"]}),
        (
            "derive_shared_secret",
            {"KeyId": agreeing, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public},
        ),
        ("encapsulate", ml_kem),
        ("decapsulate", {**ml_kem, "SharedSecretCiphertextBlob": encapsulated}),
    ):
        call = getattr(node(), name)
        refused(f"dry run, {name}", call, "DryRunOperationException", DRY_RUN, DryRun=True, **arguments)


def public_keys_of_another_curve():
    key = made["ECC_NIST_P256", "KEY_AGREEMENT"]
    other = spki(ec.generate_private_key(ec.SECP384R1()).public_key())
    for what, public in (("another curve", other), ("garbage", b"garbage"), ("cut", other[:-1])):
        arguments = {"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public}
        refused(what, node().derive_shared_secret, INVALID, "", **arguments)


SECTIONS = [
    keys_that_are_not_there,
    keys_that_cannot_be,
    tags_that_cannot_be,
    keys_for_something_else,
    ciphertexts_that_do_not_open,
    signatures_and_macs_that_do_not_hold,
    what_is_too_large_or_missing,
    keys_in_the_wrong_state,
    rotations_that_cannot_be,
    dry_runs_do_nothing,
    public_keys_of_another_curve,
]
