"""Key policies: the default one, putting another, what is none; shapes and errors as AWS KMS has them."""

import json

from errors import arn_of
from harness import ACCOUNT, expect, expect_that, make_key, members, node, refused

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
MALFORMED = "MalformedPolicyDocumentException"
LOCKOUT = "The new key policy will not allow you to update the key policy in the future."


def policy(**changed):
    statement = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    statement.update(changed)
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def the_default_policy():
    key = make_key()
    for name in ({}, {"PolicyName": "default"}):
        answer = node().get_key_policy(KeyId=key["Arn"], **name)
        members("GetKeyPolicy", answer, ["Policy", "PolicyName"])
        expect("PolicyName", answer["PolicyName"], "default")
        expect("Policy", json.loads(answer["Policy"]), {
            "Version": "2012-10-17",
            "Id": "key-default-1",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": ROOT},
                "Action": "kms:*",
                "Resource": "*",
            }],
        })  # fmt: skip
    answer = node().list_key_policies(KeyId=key["KeyId"])
    members("ListKeyPolicies", answer, ["PolicyNames", "Truncated"])
    expect("ListKeyPolicies", (answer["PolicyNames"], answer["Truncated"]), (["default"], False))


def another_policy():
    key = make_key()["KeyId"]
    given = policy(Sid="With spaces", Condition={"StringEquals": {"kms:ViaService": ["a", "b"]}})
    both = json.loads(given)
    both["Statement"] += json.loads(policy())["Statement"]
    for given in (policy(), json.dumps(both, indent=1)):
        members("PutKeyPolicy", node().put_key_policy(KeyId=key, Policy=given), [])
        expect("as it was put", node().get_key_policy(KeyId=key)["Policy"], given)
    made = make_key(Policy=policy(), Description="with a policy")["KeyId"]
    expect("CreateKey", node().get_key_policy(KeyId=made)["Policy"], policy())
    # Kept, and no more: what it denies is done.
    closed = policy(Effect="Deny")
    node().put_key_policy(KeyId=key, Policy=closed, BypassPolicyLockoutSafetyCheck=True)
    expect_that("roles alone decide", node().encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"])


def policies_that_are_none():
    key = make_key()["KeyId"]
    put = node().put_key_policy
    principals = "Policy contains a statement with one or more invalid principals."
    foreign = {"AWS": "arn:aws:iam::999999999999:root"}
    for given, begins in {
        "x": "This policy contains invalid Json",
        "{}": "The policy: Statement is missing",
        policy(Effect="Maybe"): "Statement[0].Effect: 'Maybe' is not Allow or Deny",
        policy(Action="s3:*"): "Statement[0].Action: 's3:*' is not",
        policy(Principal=foreign): principals,
        policy(Principal={"AWS": "nobody"}): principals,
        policy(Condition={"Foo": {}}): "Statement[0].Condition: 'Foo' is not an operator of IAM",
        policy(Effect="Deny"): LOCKOUT,
        policy(Action="kms:Encrypt"): LOCKOUT,
    }.items():
        def told_so(told, begins=begins):
            return told.startswith(begins)

        refused(f"{given:.80}", put, MALFORMED, told_so, KeyId=key, Policy=given)
        refused(f"CreateKey {given:.80}", node().create_key, MALFORMED, told_so, Policy=given)
    long = policy() + " " * (32 << 10)
    code = "LimitExceededException"
    refused("long", put, code, lambda told: "at most 32768" in told, KeyId=key, Policy=long)
    code = "NotFoundException"
    for call, more in ((put, {"Policy": policy()}), (node().get_key_policy, {})):
        named = {"KeyId": key, "PolicyName": "other", **more}
        refused("name", call, code, lambda told: told.startswith("No such policy exists"), **named)
        named = {"KeyId": "alias/aws-clients", **more}
        refused("alias", call, code, "Invalid keyId 'alias/aws-clients'", **named)
    node().schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    # Whoever its policy keeps from calling the deletion off must be able to be let.
    put(KeyId=key, Policy=policy())
    expect_that("still shown", node().get_key_policy(KeyId=key)["Policy"])


SECTIONS = [the_default_policy, another_policy, policies_that_are_none]
