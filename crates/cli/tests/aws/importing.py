"""Key material from outside, wrapped by an independent library as AWS's own guide does it."""

import datetime
import hashlib
import hmac
import os

from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from harness import ACCOUNT, NODES, REGION, expect, expect_that, make_key, members, node, refused
from usage import CURVES, spki

HASHES = {"1": hashes.SHA1(), "256": hashes.SHA256()}
ALGORITHMS = [
    f"{way}_SHA_{bits}" for way in ("RSAES_OAEP", "RSA_AES_KEY_WRAP") for bits in ("1", "256")
]
AES = "RSA_AES_KEY_WRAP_SHA_256"
UNENDING = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
SHOWN = ("KeyState", "Enabled", "ExpirationModel", "CurrentKeyMaterialId")


def waiting(**arguments):
    return make_key(Origin="EXTERNAL", **arguments)["Arn"]


def parameters(arn, algorithm, spec="RSA_2048"):
    answer = node().get_parameters_for_import(
        KeyId=arn, WrappingAlgorithm=algorithm, WrappingKeySpec=spec
    )
    wanted = {"KeyId", "ImportToken", "PublicKey", "ParametersValidTo"}
    members(f"GetParametersForImport {algorithm} {spec}", answer, wanted)
    expect("its KeyId", answer["KeyId"], arn)
    expect_that("its token fits", len(answer["ImportToken"]) <= 6144, len(answer["ImportToken"]))
    valid = answer["ParametersValidTo"] - datetime.datetime.now(datetime.UTC)
    expect_that("its day", 86000 < valid.total_seconds() < 87000, valid)
    public = load_der_public_key(answer["PublicKey"])
    expect("its size", public.key_size, int(spec[4:]))
    return answer


def wrap(answer, algorithm, material):
    public = load_der_public_key(answer["PublicKey"])
    digest = HASHES[algorithm.rsplit("_", 1)[1]]
    oaep = padding.OAEP(padding.MGF1(digest), digest, None)
    if algorithm.startswith("RSAES"):
        return public.encrypt(material, oaep)
    key = os.urandom(32)
    return public.encrypt(key, oaep) + keywrap.aes_key_wrap_with_padding(key, material)


def wrapped(arn, material, algorithm=AES, spec="RSA_2048"):
    answer = parameters(arn, algorithm, spec)
    return {
        "KeyId": arn,
        "ImportToken": answer["ImportToken"],
        "EncryptedKeyMaterial": wrap(answer, algorithm, material),
    }


def shown(arn):
    metadata = node().describe_key(KeyId=arn)["KeyMetadata"]
    return tuple(metadata.get(name) for name in SHOWN)


def pkcs8(private):
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def symmetric_material_by_every_wrapping():
    ways = [(algorithm, "RSA_2048") for algorithm in ALGORITHMS] + [(AES, "RSA_3072"), (AES, "RSA_4096")]
    for algorithm, spec in ways:
        arn, material = waiting(), os.urandom(32)
        arguments = wrapped(arn, material, algorithm, spec)
        answer = NODES[0].import_key_material(**arguments, **UNENDING)
        members(f"ImportKeyMaterial {algorithm}", answer, {"KeyId", "KeyMaterialId"})
        expect("its KeyId", answer["KeyId"], arn)
        current = answer["KeyMaterialId"]
        expect("described", shown(arn), ("Enabled", True, UNENDING["ExpirationModel"], current))
        blob = NODES[1].encrypt(KeyId=arn, Plaintext=b"imported")["CiphertextBlob"]
        answer = NODES[2].delete_imported_key_material(KeyId=arn)
        members("DeleteImportedKeyMaterial", answer, {"KeyId", "KeyMaterialId"})
        expect("its ids", (answer["KeyId"], answer["KeyMaterialId"]), (arn, current))
        expect("waiting again", shown(arn), ("PendingImport", False, None, current))
        message = f"{arn} is pending import."
        code = "KMSInvalidStateException"
        refused("Decrypt without", node().decrypt, code, message, CiphertextBlob=blob)
        refused("Encrypt without", node().encrypt, code, message, KeyId=arn, Plaintext=b"x")
        NODES[1].import_key_material(**wrapped(arn, material), **UNENDING)
        expect("Decrypt", NODES[2].decrypt(CiphertextBlob=blob)["Plaintext"], b"imported")


def other_keys_do_outside_what_they_do_inside():
    for bits, digest in ((224, "sha224"), (256, "sha256"), (384, "sha384"), (512, "sha512")):
        arn = waiting(KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")
        material = os.urandom(bits // 8)
        answer = node().import_key_material(**wrapped(arn, material), **UNENDING)
        members(f"ImportKeyMaterial HMAC_{bits}", answer, {"KeyId"})
        mac = node().generate_mac(KeyId=arn, Message=b"m", MacAlgorithm=f"HMAC_SHA_{bits}")["Mac"]
        expect(f"HMAC_{bits}", mac, hmac.new(material, b"m", digest).digest())
    keys = {
        ("RSA_2048", "SIGN_VERIFY"): rsa.generate_private_key(65537, 2048),
        ("RSA_3072", "ENCRYPT_DECRYPT"): rsa.generate_private_key(65537, 3072),
        ("RSA_4096", "SIGN_VERIFY"): rsa.generate_private_key(65537, 4096),
        ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"): ed25519.Ed25519PrivateKey.generate(),
        ("ECC_NIST_P384", "KEY_AGREEMENT"): ec.generate_private_key(ec.SECP384R1()),
    }
    for spec, curve in CURVES.items():
        keys[spec, "SIGN_VERIFY"] = ec.generate_private_key(curve)
    for (spec, usage), private in keys.items():
        arn = waiting(KeySpec=spec, KeyUsage=usage)
        node().import_key_material(**wrapped(arn, pkcs8(private)), **UNENDING)
        public = node().get_public_key(KeyId=arn)["PublicKey"]
        expect(f"GetPublicKey {spec} {usage}", public, spki(private.public_key()))
        if usage == "ENCRYPT_DECRYPT":
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
            blob = node().encrypt(
                KeyId=arn, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256"
            )["CiphertextBlob"]
            expect(f"{spec}: opened outside", private.decrypt(blob, oaep), b"x")
        elif usage == "KEY_AGREEMENT":
            other = ec.generate_private_key(ec.SECP384R1())
            answer = node().derive_shared_secret(
                KeyId=arn, KeyAgreementAlgorithm="ECDH", PublicKey=spki(other.public_key())
            )
            expect("DeriveSharedSecret", answer["KeyOrigin"], "EXTERNAL")
            secret = private.exchange(ec.ECDH(), other.public_key())
            expect(f"{spec}: both ends", answer["SharedSecret"], secret)


def material_expires_when_it_is_told_to():
    arn, material = waiting(), os.urandom(32)
    code, missing = "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
    arguments = wrapped(arn, material)
    importing = node().import_key_material
    refused("no ValidTo", importing, code, missing, **arguments)
    refused("no ValidTo", importing, code, missing, **arguments, ExpirationModel="KEY_MATERIAL_EXPIRES")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    hour, days = datetime.timedelta(hours=1), datetime.timedelta(days=366)
    for wrong in (now - hour, now + days):
        refused("bad ValidTo", importing, code, bool, **arguments, ValidTo=wrong)
    refused("ValidTo", importing, code, bool, **arguments, **UNENDING, ValidTo=now + hour)
    importing(**arguments, ValidTo=now + hour)
    metadata = node().describe_key(KeyId=arn)["KeyMetadata"]
    told = (metadata["ExpirationModel"], metadata["ValidTo"])
    expect("described", told, ("KEY_MATERIAL_EXPIRES", now + hour))


def a_second_material_waits_for_its_rotation():
    arn, first, second = waiting(), os.urandom(32), os.urandom(32)
    new, old = {"ImportType": "NEW_KEY_MATERIAL"}, {"ImportType": "EXISTING_KEY_MATERIAL"}
    importing = node().import_key_material
    ids = [importing(**wrapped(arn, first), **UNENDING)["KeyMaterialId"]]
    blob = node().encrypt(KeyId=arn, Plaintext=b"by the first")["CiphertextBlob"]
    code = "KMSInvalidStateException"
    message = f"No available key material pending rotation for the key: {arn}."
    refused("RotateKeyOnDemand", node().rotate_key_on_demand, code, message, KeyId=arn)
    arguments = {**wrapped(arn, second), **UNENDING, **new, "KeyMaterialDescription": "the second"}
    ids.append(importing(**arguments)["KeyMaterialId"])
    expect_that("another", ids[0] != ids[1])

    def in_the_way(told):
        key = arn.rsplit("/", 1)[1]
        return told.startswith("New key material (id: ") and told.endswith(
            f") cannot be imported into KMS key {key}, because another key material (id: {ids[1]}) "
            "is pending rotation."
        )

    third = {**wrapped(arn, os.urandom(32)), **UNENDING}
    refused("a third", importing, code, in_the_way, **third, **new)
    incorrect = "IncorrectKeyMaterialException"
    refused("another one", importing, incorrect, bool, **third, **old)
    refused("not new", importing, incorrect, bool, **wrapped(arn, first), **UNENDING, **new)
    node().rotate_key_on_demand(KeyId=arn)
    expect("current", shown(arn)[3], ids[1])
    told = node().decrypt(CiphertextBlob=blob)
    expect("Decrypt", (told["Plaintext"], told["KeyMaterialId"]), (b"by the first", ids[0]))
    node().delete_imported_key_material(KeyId=arn, KeyMaterialId=ids[0])
    expect("without the first", shown(arn)[0], "PendingImport")
    arguments = {**wrapped(arn, first), **UNENDING, **old, "KeyMaterialId": ids[0]}
    importing(**arguments)
    expect("with both", shown(arn)[0], "Enabled")


def what_does_not_belong_together_is_refused():
    here = make_key()["Arn"]
    code, message = "UnsupportedOperationException", f"{here} origin is AWS_KMS which is not valid for this operation."
    asking = node().get_parameters_for_import
    arguments = {"WrappingAlgorithm": AES, "WrappingKeySpec": "RSA_2048"}
    refused("parameters", asking, code, message, KeyId=here, **arguments)
    refused("deletion", node().delete_imported_key_material, code, message, KeyId=here)
    arn, other, material = waiting(), waiting(), os.urandom(32)
    importing = node().import_key_material
    whole = {**wrapped(arn, material), **UNENDING}
    refused("import", importing, code, message, **{**whole, "KeyId": here})
    for algorithm, spec in (("RSAES_PKCS1_V1_5", "RSA_2048"), ("SM2PKE", "RSA_2048"), (AES, "SM2")):
        arguments = {"WrappingAlgorithm": algorithm, "WrappingKeySpec": spec}
        refused(f"{algorithm} {spec}", asking, code, bool, KeyId=arn, **arguments)
    token, blob = whole["ImportToken"], whole["EncryptedKeyMaterial"]
    invalid = "InvalidImportTokenException"
    refused("token of another", importing, invalid, bool, **{**whole, "KeyId": other})
    for bad in (token[:-1] + bytes([token[-1] ^ 1]), b"token", token[:100]):
        refused("a bad token", importing, invalid, bool, **{**whole, "ImportToken": bad})
    for bad in (blob[:-1] + bytes([blob[-1] ^ 1]), b"blob", blob[:256]):
        arguments = {**whole, "EncryptedKeyMaterial": bad}
        refused("bad material", importing, "InvalidCiphertextException", lambda told: True, **arguments)
    short = {**wrapped(arn, material[1:]), **UNENDING}
    refused("31 bytes", importing, "InvalidCiphertextException", bool, **short)
    unknown = hashlib.sha256(b"").hexdigest()
    deletion = node().delete_imported_key_material
    refused("unknown id", deletion, "NotFoundException", bool, KeyId=arn, KeyMaterialId=unknown)
    answer = members("nothing to delete", deletion(KeyId=arn), {"KeyId"})
    expect("its KeyId", answer["KeyId"], f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{arn.rsplit('/', 1)[1]}")
    importing(**whole)
    expect("and then", shown(arn)[0], "Enabled")


SECTIONS = [
    symmetric_material_by_every_wrapping,
    other_keys_do_outside_what_they_do_inside,
    material_expires_when_it_is_told_to,
    a_second_material_waits_for_its_rotation,
    what_does_not_belong_together_is_refused,
]
