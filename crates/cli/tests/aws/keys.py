"""The life of keys: made, described, listed, disabled, rotated, deleted; shapes as AWS KMS has them."""

import datetime
import re
import subprocess

from harness import ACCOUNT, NODES, REGION, expect, expect_that, make_key, members, node

ALWAYS = {
    "AWSAccountId", "Arn", "CreationDate", "Description", "Enabled", "KeyId", "KeyManager",
    "KeySpec", "KeyState", "KeyUsage", "MultiRegion", "Origin",
}  # fmt: skip
RSA_SIGNING = [
    f"RSASSA_{padding}_SHA_{bits}" for padding in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)
]
RSA = ["RSA_2048", "RSA_3072", "RSA_4096"]
NIST = {"ECC_NIST_P256": "256", "ECC_NIST_P384": "384", "ECC_NIST_P521": "512"}

# Every kind of key and use: (spec, usage) to the member that lists its algorithms, and the list.
KINDS = {
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"): ("EncryptionAlgorithms", ["SYMMETRIC_DEFAULT"]),
    ("ECC_SECG_P256K1", "SIGN_VERIFY"): ("SigningAlgorithms", ["ECDSA_SHA_256"]),
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"): (
        "SigningAlgorithms",
        ["ED25519_PH_SHA_512", "ED25519_SHA_512"],
    ),
}
for spec in RSA:
    oaep = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    KINDS[spec, "ENCRYPT_DECRYPT"] = ("EncryptionAlgorithms", oaep)
    KINDS[spec, "SIGN_VERIFY"] = ("SigningAlgorithms", RSA_SIGNING)
for spec, bits in NIST.items():
    KINDS[spec, "SIGN_VERIFY"] = ("SigningAlgorithms", [f"ECDSA_SHA_{bits}"])
    KINDS[spec, "KEY_AGREEMENT"] = ("KeyAgreementAlgorithms", ["ECDH"])
for bits in (224, 256, 384, 512):
    KINDS[f"HMAC_{bits}", "GENERATE_VERIFY_MAC"] = ("MacAlgorithms", [f"HMAC_SHA_{bits}"])
for size in (44, 65, 87):
    KINDS[f"ML_DSA_{size}", "SIGN_VERIFY"] = ("SigningAlgorithms", ["ML_DSA_SHAKE_256"])
for size in (512, 768, 1024):
    KINDS[f"ML_KEM_{size}", "ENCAPSULATE_DECAPSULATE"] = ("EncapsulationAlgorithms", ["ML_KEM"])

# One key of each kind, for all the other checks.
made = {}


def has_old_name(spec):
    """CustomerMasterKeySpec is deprecated: what came later has no name in it."""
    return not spec.startswith(("ML_", "ECC_NIST_EDWARDS"))


def metadata_members(spec, listed, *more):
    of_spec = {listed, *more}
    if has_old_name(spec):
        of_spec.add("CustomerMasterKeySpec")
    if spec == "SYMMETRIC_DEFAULT":
        of_spec.add("CurrentKeyMaterialId")
    return ALWAYS | of_spec


def every_kind_is_made_and_described():
    now = datetime.datetime.now(datetime.UTC)
    for (spec, usage), (listed, algorithms) in KINDS.items():
        what = f"CreateKey {spec} {usage}"
        description = f"{usage} with é"
        answer = node().create_key(KeySpec=spec, KeyUsage=usage, Description=description)
        metadata = answer["KeyMetadata"]
        made[spec, usage] = metadata["Arn"]
        members(what, metadata, metadata_members(spec, listed))
        expect(f"{what}: algorithms", sorted(metadata[listed]), algorithms)
        key_id = metadata["KeyId"]
        expect_that(f"{what}: KeyId", re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key_id))
        expect(f"{what}: Arn", metadata["Arn"], f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}")
        wanted = {
            "AWSAccountId": ACCOUNT, "Enabled": True, "KeyManager": "CUSTOMER", "KeySpec": spec,
            "KeyState": "Enabled", "KeyUsage": usage, "MultiRegion": False, "Origin": "AWS_KMS",
            "Description": description,
        }  # fmt: skip
        for name, value in wanted.items():
            expect(f"{what}: {name}", metadata[name], value)
        if has_old_name(spec):
            expect(f"{what}: old spec", metadata["CustomerMasterKeySpec"], spec)
        if spec == "SYMMETRIC_DEFAULT":
            material = metadata["CurrentKeyMaterialId"]
            expect_that(f"{what}: material", re.fullmatch("[0-9a-f]{64}", material), material)
        age = abs((metadata["CreationDate"] - now).total_seconds())
        expect_that(f"{what}: CreationDate", age < 600, age)
        for name in (key_id, metadata["Arn"]):
            described = node().describe_key(KeyId=name)["KeyMetadata"]
            expect(f"DescribeKey {spec} {usage}", described, metadata)


def what_is_not_said_has_its_default():
    metadata = make_key()
    expect("CreateKey without arguments", metadata["KeySpec"], "SYMMETRIC_DEFAULT")
    expect("its description", metadata["Description"], "")
    old = make_key(CustomerMasterKeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    expect("CreateKey by the old name", old["KeySpec"], "RSA_2048")
    tagged = make_key(Tags=[{"TagKey": "team", "TagValue": "a"}, {"TagKey": "x", "TagValue": ""}])
    members("CreateKey with tags", tagged, metadata_members("SYMMETRIC_DEFAULT", "EncryptionAlgorithms"))


def a_key_for_import_waits_for_it():
    metadata = make_key(Origin="EXTERNAL")
    wanted = metadata_members("SYMMETRIC_DEFAULT", "EncryptionAlgorithms") - {"CurrentKeyMaterialId"}
    members("CreateKey EXTERNAL", metadata, wanted)
    told = {name: metadata[name] for name in ("Enabled", "KeyState", "Origin")}
    expect("its state", told, {"Enabled": False, "KeyState": "PendingImport", "Origin": "EXTERNAL"})


def pages_of_keys_hold_each_key_once():
    paginator = NODES[1].get_paginator("list_keys")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 7}))
    keys = [entry for page in pages for entry in page["Keys"]]
    for page in pages[:-1]:
        members("ListKeys, a page", page, {"Keys", "Truncated", "NextMarker"})
        expect("ListKeys, a page", (len(page["Keys"]), page["Truncated"]), (7, True))
    members("ListKeys, the last page", pages[-1], {"Keys", "Truncated"})
    expect("ListKeys, the last page", pages[-1]["Truncated"], False)
    arns = [entry["KeyArn"] for entry in keys]
    expect("each once", len(arns), len(set(arns)))
    expect("all of them", sorted(set(made.values()) - set(arns)), [])
    for entry in keys:
        expect("an entry", set(entry), {"KeyId", "KeyArn"})
        expect_that("its names", entry["KeyArn"].endswith(f":key/{entry['KeyId']}"))
    whole = NODES[2].list_keys()
    expect("ListKeys in one page", [entry["KeyArn"] for entry in whole["Keys"]], arns[:100])


def a_key_goes_through_its_states():
    metadata = make_key(Description="to be deleted")
    arn, key_id = metadata["Arn"], metadata["KeyId"]
    members("DisableKey", NODES[0].disable_key(KeyId=key_id), set())
    told = NODES[1].describe_key(KeyId=arn)["KeyMetadata"]
    expect("disabled", (told["KeyState"], told["Enabled"]), ("Disabled", False))
    members("EnableKey", NODES[1].enable_key(KeyId=arn), set())
    told = NODES[2].describe_key(KeyId=arn)["KeyMetadata"]
    expect("enabled", (told["KeyState"], told["Enabled"]), ("Enabled", True))
    answer = NODES[2].schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    wanted = {"KeyId", "DeletionDate", "KeyState", "PendingWindowInDays"}
    members("ScheduleKeyDeletion", answer, wanted)
    told = [answer[name] for name in ("KeyId", "KeyState", "PendingWindowInDays")]
    expect("ScheduleKeyDeletion", told, [arn, "PendingDeletion", 7])
    days = (answer["DeletionDate"] - metadata["CreationDate"]).total_seconds() / 86400
    expect_that("its date", 7 <= days < 7.1, days)
    told = NODES[0].describe_key(KeyId=arn)["KeyMetadata"]
    wanted = metadata_members("SYMMETRIC_DEFAULT", "EncryptionAlgorithms", "DeletionDate")
    members("DescribeKey, pending deletion", told, wanted)
    expect("its date again", told["DeletionDate"], answer["DeletionDate"])
    answer = members("CancelKeyDeletion", NODES[1].cancel_key_deletion(KeyId=arn), {"KeyId"})
    expect("CancelKeyDeletion", answer["KeyId"], arn)
    told = NODES[2].describe_key(KeyId=arn)["KeyMetadata"]
    expect("kept", told["KeyState"], "Disabled")
    answer = NODES[0].schedule_key_deletion(KeyId=arn)
    expect("30 days by default", answer["PendingWindowInDays"], 30)


def rotation_keeps_what_was_encrypted():
    key = make_key()
    arn, first = key["Arn"], key["CurrentKeyMaterialId"]
    old = NODES[0].encrypt(KeyId=arn, Plaintext=b"before")["CiphertextBlob"]
    answer = members("RotateKeyOnDemand", NODES[1].rotate_key_on_demand(KeyId=arn), {"KeyId"})
    expect("RotateKeyOnDemand", answer["KeyId"], arn)
    second = NODES[2].describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    expect_that("another material", second != first, second)
    new = NODES[0].encrypt(KeyId=arn, Plaintext=b"after")["CiphertextBlob"]
    for blob, plaintext, material in ((old, b"before", first), (new, b"after", second)):
        answer = NODES[2].decrypt(CiphertextBlob=blob)
        told = (answer["Plaintext"], answer["KeyMaterialId"])
        expect("Decrypt after a rotation", told, (plaintext, material))


def an_alias_of_the_command_line_names_the_key():
    """What the one face makes the other knows."""
    command = ["conclave", "key", "create", "--alias", "alias/aws-clients"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws-clients"
    arn = NODES[0].describe_key(KeyId="alias/aws-clients")["KeyMetadata"]["Arn"]
    answer = NODES[1].encrypt(KeyId=alias, Plaintext=b"by alias")
    expect("Encrypt by alias", answer["KeyId"], arn)
    told = NODES[2].decrypt(KeyId="alias/aws-clients", CiphertextBlob=answer["CiphertextBlob"])
    expect("Decrypt by alias", (told["Plaintext"], told["KeyId"]), (b"by alias", arn))


SECTIONS = [
    every_kind_is_made_and_described,
    what_is_not_said_has_its_default,
    a_key_for_import_waits_for_it,
    pages_of_keys_hold_each_key_once,
    a_key_goes_through_its_states,
    rotation_keeps_what_was_encrypted,
    an_alias_of_the_command_line_names_the_key,
]
