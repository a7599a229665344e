"""The use of keys, each answer checked with libraries that know nothing of Conclave, or the other way
round: made outside and opened inside. What one node makes another one takes."""

import hashlib
import os

from Crypto.Hash import SHA512
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from harness import NODES, expect, expect_that, members, node, verifies
from keys import KINDS, RSA, has_old_name, made

CONTEXT = {"purpose": "test", "naïve": "ключ"}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}
ML_DSA = {
    "ML_DSA_44": mldsa.MLDSA44PublicKey,
    "ML_DSA_65": mldsa.MLDSA65PublicKey,
    "ML_DSA_87": mldsa.MLDSA87PublicKey,
}
# The library has no ML-KEM-512: of that only both ends here are compared.
ML_KEM = {"ML_KEM_768": mlkem.MLKEM768PublicKey, "ML_KEM_1024": mlkem.MLKEM1024PublicKey}
SYMMETRIC = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")

public_keys = {}


def of_usage(usage):
    return [(spec, made[spec, usage]) for spec, of in KINDS if of == usage]


def spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_keys_are_standard():
    for (spec, usage), arn in made.items():
        if spec.startswith(("SYMMETRIC", "HMAC")):
            continue
        what = f"GetPublicKey {spec} {usage}"
        listed, algorithms = KINDS[spec, usage]
        answer = node().get_public_key(KeyId=arn)
        wanted = {"KeyId", "PublicKey", "KeySpec", "KeyUsage", listed}
        if has_old_name(spec):
            wanted.add("CustomerMasterKeySpec")
        members(what, answer, wanted)
        told = (answer["KeyId"], answer["KeySpec"], answer["KeyUsage"], sorted(answer[listed]))
        expect(what, told, (arn, spec, usage, algorithms))
        if spec == "ML_KEM_512":
            expect("its length", len(answer["PublicKey"]), 800 + 22)
            continue
        key = load_der_public_key(answer["PublicKey"])
        public_keys[arn] = key
        kind = {"RSA": rsa.RSAPublicKey, "ECC": ec.EllipticCurvePublicKey}.get(spec[:3])
        if spec == "ECC_NIST_EDWARDS25519":
            kind = ed25519.Ed25519PublicKey
        kind = ML_DSA.get(spec) or ML_KEM.get(spec) or kind
        expect_that(f"{what}: kind", isinstance(key, kind), key)
        if spec in RSA:
            size = (key.key_size, key.public_numbers().e)
            expect(f"{what}: size", size, (int(spec[4:]), 65537))
        if spec in CURVES:
            expect(f"{what}: curve", key.curve.name, CURVES[spec].name)
        expect(f"{what}: encoding", spki(key), answer["PublicKey"])


def symmetric_encryption():
    arn = made[SYMMETRIC]
    material = node().describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    for plaintext in (b"\0", b"a few bytes", os.urandom(4096)):
        what = f"Encrypt {len(plaintext)} bytes"
        answer = NODES[0].encrypt(KeyId=arn, Plaintext=plaintext, EncryptionContext=CONTEXT)
        members(what, answer, {"CiphertextBlob", "KeyId", "EncryptionAlgorithm"})
        expect(what, (answer["KeyId"], answer["EncryptionAlgorithm"]), (arn, "SYMMETRIC_DEFAULT"))
        blob = answer["CiphertextBlob"]
        expect_that(f"{what}: nothing shows", len(plaintext) < 8 or plaintext not in blob)
        for named in ({}, {"KeyId": arn}, {"EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}):
            opened = NODES[1].decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, **named)
            wanted = {"KeyId", "Plaintext", "EncryptionAlgorithm", "KeyMaterialId"}
            members("Decrypt", opened, wanted)
            told = (opened["Plaintext"], opened["KeyId"], opened["KeyMaterialId"])
            expect("Decrypt", told, (plaintext, arn, material))


def re_encryption_changes_key_and_context():
    source, destination = made[SYMMETRIC], node().create_key()["KeyMetadata"]["Arn"]
    blob = NODES[0].encrypt(KeyId=source, Plaintext=b"moved", EncryptionContext=CONTEXT)
    answer = NODES[1].re_encrypt(
        CiphertextBlob=blob["CiphertextBlob"],
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=destination,
        DestinationEncryptionContext={"now": "here"},
    )
    wanted = {
        "CiphertextBlob", "SourceKeyId", "KeyId", "SourceEncryptionAlgorithm",
        "DestinationEncryptionAlgorithm", "SourceKeyMaterialId", "DestinationKeyMaterialId",
    }  # fmt: skip
    members("ReEncrypt", answer, wanted)
    expect("ReEncrypt", (answer["SourceKeyId"], answer["KeyId"]), (source, destination))
    moved = answer["CiphertextBlob"]
    opened = NODES[2].decrypt(CiphertextBlob=moved, EncryptionContext={"now": "here"})
    expect("Decrypt after it", (opened["Plaintext"], opened["KeyId"]), (b"moved", destination))
    # To a key pair, and what another library made back to a symmetric key.
    pair = made["RSA_2048", "ENCRYPT_DECRYPT"]
    answer = NODES[2].re_encrypt(
        CiphertextBlob=moved,
        SourceEncryptionContext={"now": "here"},
        DestinationKeyId=pair,
        DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    wanted -= {"DestinationKeyMaterialId"}
    members("ReEncrypt to RSA", answer, wanted)
    answer = NODES[0].re_encrypt(
        CiphertextBlob=oaep(public_keys[pair], hashes.SHA1(), b"from outside"),
        SourceKeyId=pair,
        SourceEncryptionAlgorithm="RSAES_OAEP_SHA_1",
        DestinationKeyId=source,
    )
    opened = NODES[1].decrypt(CiphertextBlob=answer["CiphertextBlob"])
    expect("Decrypt after ReEncrypt from RSA", opened["Plaintext"], b"from outside")


def oaep(key, algorithm, plaintext):
    scheme = padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)
    return key.encrypt(plaintext, scheme)


def rsa_encryption_inside_and_outside():
    for spec in RSA:
        arn = made[spec, "ENCRYPT_DECRYPT"]
        for name, algorithm in (("1", hashes.SHA1()), ("256", hashes.SHA256())):
            name = f"RSAES_OAEP_SHA_{name}"
            most = int(spec[4:]) // 8 - 2 * algorithm.digest_size - 2
            plaintext = os.urandom(most)
            outside = oaep(public_keys[arn], algorithm, plaintext)
            inside = node().encrypt(KeyId=arn, Plaintext=plaintext, EncryptionAlgorithm=name)
            expect(f"Encrypt {spec}", (inside["KeyId"], inside["EncryptionAlgorithm"]), (arn, name))
            for blob in (outside, inside["CiphertextBlob"]):
                opened = node().decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionAlgorithm=name)
                wanted = {"KeyId", "Plaintext", "EncryptionAlgorithm"}
                members(f"Decrypt {spec} {name}", opened, wanted)
                expect(f"Decrypt {spec} {name}", opened["Plaintext"], plaintext)


def data_keys_are_wrapped():
    arn = made[SYMMETRIC]
    lengths = [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16)]
    lengths += [({"NumberOfBytes": bytes_}, bytes_) for bytes_ in (1, 24, 1024)]
    for given, length in lengths:
        arguments = {"KeyId": arn, "EncryptionContext": CONTEXT, **given}
        answer = node().generate_data_key(**arguments)
        wanted = {"CiphertextBlob", "KeyId", "KeyMaterialId"}
        members(f"GenerateDataKey {given}", answer, wanted | {"Plaintext"})
        expect(f"GenerateDataKey {given}", len(answer["Plaintext"]), length)
        opened = node().decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext=CONTEXT)
        expect("its Decrypt", opened["Plaintext"], answer["Plaintext"])
        answer = node().generate_data_key_without_plaintext(**arguments)
        members(f"GenerateDataKeyWithoutPlaintext {given}", answer, wanted)
        opened = node().decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext=CONTEXT)
        expect("its Decrypt", len(opened["Plaintext"]), length)


def data_key_pairs_are_wrapped():
    arn = made[SYMMETRIC]
    specs = [*RSA, *CURVES, "ECC_NIST_EDWARDS25519", "ML_KEM_512", *ML_KEM]
    for spec in specs:
        what = f"GenerateDataKeyPair {spec}"
        arguments = {"KeyId": arn, "KeyPairSpec": spec, "EncryptionContext": CONTEXT}
        wanted = {"PrivateKeyCiphertextBlob", "PublicKey", "KeyId", "KeyPairSpec", "KeyMaterialId"}
        answer = node().generate_data_key_pair(**arguments)
        members(what, answer, wanted | {"PrivateKeyPlaintext"})
        expect(what, (answer["KeyId"], answer["KeyPairSpec"]), (arn, spec))
        private = answer["PrivateKeyPlaintext"]
        blob = answer["PrivateKeyCiphertextBlob"]
        opened = node().decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
        expect(f"{what}: Decrypt", opened["Plaintext"], private)
        one_pair(spec, private, answer["PublicKey"])
        if spec in RSA[1:]:
            continue  # Large primes take seconds to find.
        answer2 = node().generate_data_key_pair_without_plaintext(**arguments)
        members(f"{what}WithoutPlaintext", answer2, wanted)
        blob = answer2["PrivateKeyCiphertextBlob"]
        private2 = node().decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"]
        expect_that(f"{what}: another each time", private2 != private)
        one_pair(spec, private2, answer2["PublicKey"])


def one_pair(spec, private, public):
    if spec != "ML_KEM_512":
        key = load_der_private_key(private, password=None)
        expect(f"{spec}: one pair", spki(key.public_key()), public)


def randomness_has_its_length():
    for length in (1, 32, 1024):
        answer = node().generate_random(NumberOfBytes=length)
        members("GenerateRandom", answer, {"Plaintext"})
        expect("GenerateRandom", len(answer["Plaintext"]), length)


def verifier(spec, arn, algorithm):
    """How another library verifies: a function of signature and message, and one of a digest."""
    key = public_keys[arn]
    bits = algorithm.rsplit("_", 1)[1]
    if spec in RSA:
        mgf = padding.MGF1(HASHES[bits])
        pss = padding.PSS(mgf=mgf, salt_length=padding.PSS.DIGEST_LENGTH)
        scheme = pss if "PSS" in algorithm else padding.PKCS1v15()
        return (
            lambda signature, message: key.verify(signature, message, scheme, HASHES[bits]),
            lambda signature, d: key.verify(signature, d, scheme, Prehashed(HASHES[bits])),
        )
    if spec in CURVES:
        return (
            lambda signature, message: key.verify(signature, message, ec.ECDSA(HASHES[bits])),
            lambda signature, d: key.verify(signature, d, ec.ECDSA(Prehashed(HASHES[bits]))),
        )
    return key.verify, None


def signed(arn, algorithm, message, message_type):
    """Signed on one node and verified on another."""
    arguments = {"KeyId": arn, "SigningAlgorithm": algorithm, "Message": message}
    if message_type != "RAW":
        arguments["MessageType"] = message_type
    what = f"Sign {algorithm} {message_type}"
    answer = members(what, node().sign(**arguments), {"KeyId", "Signature", "SigningAlgorithm"})
    expect(what, (answer["KeyId"], answer["SigningAlgorithm"]), (arn, algorithm))
    told = node().verify(**arguments, Signature=answer["Signature"])
    members(f"Verify {algorithm}", told, {"KeyId", "SignatureValid", "SigningAlgorithm"})
    wanted = (arn, True, algorithm)
    expect("Verify", (told["KeyId"], told["SignatureValid"], told["SigningAlgorithm"]), wanted)
    return answer["Signature"]


def signatures_hold_outside():
    for spec, arn in of_usage("SIGN_VERIFY"):
        _, algorithms = KINDS[spec, "SIGN_VERIFY"]
        for algorithm in algorithms:
            what = f"{spec} {algorithm}"
            if algorithm == "ED25519_PH_SHA_512":
                ed25519_of_a_digest_holds(arn)
                continue
            for message in (b"m", os.urandom(4096)):
                of_message, of_digest = verifier(spec, arn, algorithm)
                signature = signed(arn, algorithm, message, "RAW")
                verifies(what, of_message, signature, message)
                if of_digest:
                    digest = hashlib.new(f"sha{algorithm.rsplit('_', 1)[1]}", message).digest()
                    signature = signed(arn, algorithm, digest, "DIGEST")
                    verifies(f"{what}, digest", of_digest, signature, digest)
                    verifies(f"{what}, its message", of_message, signature, message)
        if spec in ML_DSA:
            key, message = public_keys[arn], b"message of mu"
            # FIPS 204: the message's representative, over the hash of the public key; no context.
            of_key = hashlib.shake_256(key.public_bytes_raw()).digest(64)
            mu = hashlib.shake_256(of_key + b"\0\0" + message).digest(64)
            signature = signed(arn, "ML_DSA_SHAKE_256", mu, "EXTERNAL_MU")
            verifies(f"{spec}, mu", key.verify, signature, message)
            verifies(f"{spec}, mu as such", key.verify_mu, signature, mu)


def ed25519_of_a_digest_holds(arn):
    message = b"hashed before"
    signature = signed(arn, "ED25519_PH_SHA_512", hashlib.sha512(message).digest(), "DIGEST")
    key = ECC.import_key(spki(public_keys[arn]))
    verifies("Ed25519ph", eddsa.new(key, "rfc8032").verify, SHA512.new(message), signature)


def macs_hold_on_other_nodes():
    """That they are HMAC could be seen from outside only with a key that was imported."""
    for spec, arn in of_usage("GENERATE_VERIFY_MAC"):
        bits = spec[5:]
        arguments = {"KeyId": arn, "MacAlgorithm": f"HMAC_SHA_{bits}", "Message": os.urandom(99)}
        answer = NODES[0].generate_mac(**arguments)
        members(f"GenerateMac {spec}", answer, {"Mac", "MacAlgorithm", "KeyId"})
        told = (len(answer["Mac"]) * 8, answer["MacAlgorithm"], answer["KeyId"])
        expect(f"GenerateMac {spec}", told, (int(bits), f"HMAC_SHA_{bits}", arn))
        told = NODES[1].verify_mac(**arguments, Mac=answer["Mac"])
        members(f"VerifyMac {spec}", told, {"KeyId", "MacValid", "MacAlgorithm"})
        expect(f"VerifyMac {spec}", (told["KeyId"], told["MacValid"]), (arn, True))


def secrets_are_agreed_on_with_the_outside():
    for spec, arn in of_usage("KEY_AGREEMENT"):
        private = ec.generate_private_key(CURVES[spec])
        answer = node().derive_shared_secret(
            KeyId=arn, KeyAgreementAlgorithm="ECDH", PublicKey=spki(private.public_key())
        )
        wanted = {"KeyId", "SharedSecret", "KeyAgreementAlgorithm", "KeyOrigin"}
        members(f"DeriveSharedSecret {spec}", answer, wanted)
        told = (answer["KeyId"], answer["KeyAgreementAlgorithm"], answer["KeyOrigin"])
        expect(f"DeriveSharedSecret {spec}", told, (arn, "ECDH", "AWS_KMS"))
        outside = private.exchange(ec.ECDH(), public_keys[arn])
        expect(f"{spec}: both ends", answer["SharedSecret"], outside)
        # And with another key of the service.
        other = node().create_key(KeySpec=spec, KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["Arn"]
        ends = [
            node().derive_shared_secret(
                KeyId=mine,
                KeyAgreementAlgorithm="ECDH",
                PublicKey=node().get_public_key(KeyId=theirs)["PublicKey"],
            )["SharedSecret"]
            for mine, theirs in ((arn, other), (other, arn))
        ]
        expect(f"{spec}: both ends inside", ends[0], ends[1])


def secrets_are_encapsulated():
    for spec, arn in of_usage("ENCAPSULATE_DECAPSULATE"):
        arguments = {"KeyId": arn, "EncapsulationAlgorithm": "ML_KEM"}
        answer = NODES[0].encapsulate(**arguments)
        wanted = {"KeyId", "SharedSecret", "EncapsulationAlgorithm"}
        members(f"Encapsulate {spec}", answer, wanted | {"SharedSecretCiphertextBlob"})
        ends = [(answer["SharedSecret"], answer["SharedSecretCiphertextBlob"])]
        if spec in ML_KEM:
            ends.append(public_keys[arn].encapsulate())
        for shared, blob in ends:
            answer = NODES[1].decapsulate(SharedSecretCiphertextBlob=blob, **arguments)
            members(f"Decapsulate {spec}", answer, wanted)
            told = (answer["KeyId"], answer["EncapsulationAlgorithm"], answer["SharedSecret"])
            expect(f"Decapsulate {spec}", told, (arn, "ML_KEM", shared))
            expect("its length", len(shared), 32)


SECTIONS = [
    public_keys_are_standard,
    symmetric_encryption,
    re_encryption_changes_key_and_context,
    rsa_encryption_inside_and_outside,
    data_keys_are_wrapped,
    data_key_pairs_are_wrapped,
    randomness_has_its_length,
    signatures_hold_outside,
    macs_hold_on_other_nodes,
    secrets_are_agreed_on_with_the_outside,
    secrets_are_encapsulated,
]
