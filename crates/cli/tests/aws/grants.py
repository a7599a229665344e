"""Grants: made, listed, retired, revoked; shapes and errors as AWS KMS has them."""

import re
import uuid

from errors import DETECTED, DRY_RUN, INVALID, arn_of
from harness import ACCOUNT, expect, expect_that, make_key, members, node, refused

GRANTEE = f"arn:aws:iam::{ACCOUNT}:user/somebody"
RETIRING = f"arn:aws:iam::{ACCOUNT}:user/somebody-else"
ENTRY = [
    "CreationDate", "GrantId", "GranteePrincipal", "IssuingAccount", "KeyId", "Operations",
]  # fmt: skip
NO_GRANT = "0" * 32


def grant(key, **arguments):
    arguments = {"GranteePrincipal": GRANTEE, "Operations": ["Encrypt", "Decrypt"], **arguments}
    return node().create_grant(KeyId=key, **arguments)


def ids(answer):
    return {entry["GrantId"] for entry in answer["Grants"]}


def a_grant_is_shown_as_it_was_made():
    key = make_key()
    constraints = {
        "EncryptionContextEquals": {"a": "1"},
        "EncryptionContextSubset": {"b": "2", "c": "3"},
    }
    named = {"Name": "a:name/of_it-1", "RetiringPrincipal": RETIRING, "Constraints": constraints}
    made = members("CreateGrant", grant(key["Arn"], **named), ["GrantId", "GrantToken"])
    expect_that("GrantId", re.fullmatch("[0-9a-f]{32}", made["GrantId"]), made["GrantId"])
    answer = node().list_grants(KeyId=key["KeyId"])
    members("ListGrants", answer, ["Grants", "Truncated"])
    (entry,) = answer["Grants"]
    members("entry", entry, ENTRY + ["Name", "RetiringPrincipal", "Constraints"])
    for member, wanted in {
        "KeyId": key["Arn"],
        "GrantId": made["GrantId"],
        "GranteePrincipal": GRANTEE,
        "IssuingAccount": f"arn:aws:iam::{ACCOUNT}:root",
        "Operations": ["Decrypt", "Encrypt"],
        **named,
    }.items():
        expect(member, entry[member], wanted)
    # The same request under the same name is the same grant; without a name each is another.
    expect("again", grant(key["KeyId"], **named)["GrantId"], made["GrantId"])
    others = {grant(key["KeyId"])["GrantId"] for _ in range(2)}
    expect("others", len(others | {made["GrantId"]}), 3)
    shown = node().list_grants(KeyId=key["KeyId"], GrantId=others.pop())["Grants"]
    members("least", shown[0], ENTRY)


def lists_go_page_by_page():
    key = make_key()["KeyId"]
    mine = f"arn:aws:iam::{ACCOUNT}:user/u{uuid.uuid4().hex[:20]}"
    made = {grant(key, RetiringPrincipal=mine)["GrantId"] for _ in range(7)}
    other = grant(key, GranteePrincipal=mine)["GrantId"]
    pages = node().get_paginator("list_grants").paginate(KeyId=key, PaginationConfig={"PageSize": 3})
    pages = [ids(page) for page in pages]
    expect("pages", (len(pages), set().union(*pages)), (3, made | {other}))
    expect("grantee", ids(node().list_grants(KeyId=key, GranteePrincipal=mine)), {other})
    expect("no such grant", node().list_grants(KeyId=key, GrantId=NO_GRANT)["Grants"], [])
    pages = node().get_paginator("list_retirable_grants")
    pages = pages.paginate(RetiringPrincipal=mine, PaginationConfig={"PageSize": 3})
    expect("retirable", set().union(*(ids(page) for page in pages)), made)


def grants_end():
    key = make_key()["KeyId"]
    by_token, by_ids, revoked = grant(key), grant(key), grant(key)
    ends = {
        "token": (node().retire_grant, {"GrantToken": by_token["GrantToken"]}),
        "ids": (node().retire_grant, {"KeyId": key, "GrantId": by_ids["GrantId"]}),
        "revoked": (node().revoke_grant, {"KeyId": key, "GrantId": revoked["GrantId"]}),
    }
    for what, (end, arguments) in ends.items():
        refused(what, end, "DryRunOperationException", DRY_RUN, DryRun=True, **arguments)
        members(what, end(**arguments), [])
        refused(what, end, "NotFoundException", lambda told: "does not exist" in told, **arguments)
    expect("none left", node().list_grants(KeyId=key)["Grants"], [])


def what_is_refused():
    key = make_key()["KeyId"]
    mac = make_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyId"]

    def create(key=key, **arguments):
        return grant(key, **arguments)

    def begins(text):
        return lambda told: told.startswith(text)

    arn = begins("ARN does not refer to a valid principal: ")
    operation = "Grant operation Sign is not supported for a key of usage ENCRYPT_DECRYPT and spec SYMMETRIC_DEFAULT."
    bound = {"EncryptionContextSubset": {"a": "b"}}
    constraints = "Encryption context constraints are only valid for grants on symmetric encryption keys."
    for what, code, message, arguments in (
        ("another account", "InvalidArnException", arn, {"GranteePrincipal": "arn:aws:iam::999999999999:user/a"}),
        ("no ARN", "InvalidArnException", arn, {"RetiringPrincipal": "Some+Body"}),
        ("operation", INVALID, operation, {"Operations": ["Encrypt", "Sign"]}),
        ("no operation", INVALID, begins(f"{DETECTED}Value 'Foo' at 'operations'"), {"Operations": ["Foo"]}),
        ("token", "InvalidGrantTokenException", begins("The grant token is not"), {"GrantTokens": ["t"]}),
        ("dry", "DryRunOperationException", DRY_RUN, {"DryRun": True}),
        ("MAC", INVALID, constraints, {"key": mac, "Operations": ["GenerateMac"], "Constraints": bound}),
    ):  # fmt: skip
        refused(what, create, code, message, **arguments)
    retire, revoke = node().retire_grant, node().revoke_grant
    refused("neither", retire, INVALID, begins("Please specify either a grant token"))
    refused("token", retire, "InvalidGrantTokenException", begins("The grant"), GrantToken="t")
    code = "InvalidGrantIdException"
    refused("id", revoke, code, "Invalid grant id 'x'", KeyId=key, GrantId="x")
    code = "NotFoundException"
    message = f"Grant '{NO_GRANT}' of {arn_of(f'key/{key}')} does not exist"
    for call in (retire, revoke):
        refused("unknown", call, code, message, KeyId=key, GrantId=NO_GRANT)
    refused("marker", node().list_grants, "InvalidMarkerException", begins("The marker"), KeyId=key, Marker="x")
    made = grant(key)
    node().disable_key(KeyId=key)
    refused("disabled", create, "DisabledException", f"{arn_of(f'key/{key}')} is disabled.")
    node().schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    message = f"{arn_of(f'key/{key}')} is pending deletion."
    refused("pending", create, "KMSInvalidStateException", message)
    expect("still listed", ids(node().list_grants(KeyId=key)), {made["GrantId"]})
    members("still revoked", revoke(KeyId=key, GrantId=made["GrantId"]), [])


SECTIONS = [
    a_grant_is_shown_as_it_was_made,
    lists_go_page_by_page,
    grants_end,
    what_is_refused,
]
