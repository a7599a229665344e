"""The AWS Encryption SDK: a file encrypted by way of one node and decrypted by way of another."""

import io
import logging
import os

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput
from aws_encryption_sdk import CommitmentPolicy

from harness import NODES, expect, expect_that, fail, make_key

# It logs what it raises, and some of that is wanted here.
logging.getLogger("aws_encryption_sdk").addHandler(logging.NullHandler())

sdk = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
)
providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def keyring(node, key):
    return providers.create_aws_kms_keyring(CreateAwsKmsKeyringInput(kms_key_id=key, kms_client=node))


def a_file_crosses_the_cluster():
    key = make_key()["Arn"]
    plain = os.urandom(1 << 20)
    context = {"file": "of 1 MiB"}
    with sdk.stream(
        mode="e", source=io.BytesIO(plain), keyring=keyring(NODES[0], key), encryption_context=context
    ) as stream:
        sealed = stream.read()
    expect_that("sealed", len(sealed) > len(plain))
    for node in (NODES[1], NODES[2]):
        with sdk.stream(mode="d", source=io.BytesIO(sealed), keyring=keyring(node, key)) as stream:
            opened = stream.read()
            told = stream.header.encryption_context["file"]
        expect_that("opened is what was sealed", opened == plain)
        expect("its context", told, "of 1 MiB")
    damaged = bytearray(sealed)
    damaged[len(damaged) // 2] ^= 1
    other = make_key()["Arn"]
    for what, source, ring in (
        ("damaged", bytes(damaged), keyring(NODES[1], key)),
        ("another key", sealed, keyring(NODES[1], other)),
    ):
        try:
            sdk.decrypt(source=source, keyring=ring)
        except Exception:  # one of several classes of the SDK and of its libraries
            expect(what, True, True)
        else:
            fail(f"{what}: opened")


SECTIONS = [a_file_crosses_the_cluster]
