"""What no SDK would send: always refused with a name, never an error of the service, and the next good
request is answered as if nothing had been."""

import base64
import json
import random

from harness import ENDPOINTS, NODES, expect, expect_that, fail, post
from keys import made
from usage import SYMMETRIC

SEED = 20
RANDOM_BODIES = 100


def told_off(what, answer):
    """4xx, with a JSON body that names the error."""
    if not 400 <= answer.status < 500:
        fail(f"{what}: answered {answer.status} {answer.body!r:.200}, wanted 4xx")
        return None
    try:
        body = answer.json()
    except ValueError:
        fail(f"{what}: body {answer.body!r}")
        return None
    expect_that(f"{what}: __type", isinstance(body.get("__type"), str), body)
    expect_that(f"{what}: message", isinstance(body.get("message"), str), body)
    expect_that(f"{what}: request id", answer.headers.get("x-amzn-requestid"))
    media_type = answer.headers.get("content-type")
    expect(f"{what}: Content-Type", media_type, "application/x-amz-json-1.1")
    return body.get("__type")


def good(what):
    for endpoint in range(len(ENDPOINTS)):
        expect(f"after {what}", post("{}", endpoint=endpoint).status, 200)


def targets_that_are_none():
    unknown = "UnknownOperationException"
    for target in (
        None, "", "ListKeys", "TrentService", "TrentService.", "TrentService.Nothing",
        "trentservice.listkeys", "TrentService.ListKeys.ListKeys", "DynamoDB_20120810.ListTables",
        "TrentService.ListKeys ", "TrentService.CreateKeyStore", "x" * 4000, "\xff\xfe",
    ):  # fmt: skip
        if target == "TrentService.ListKeys ":
            continue  # HTTP has no trailing blanks.
        expect(f"target {target!r:.60}", told_off(repr(target)[:60], post("{}", target)), unknown)
    good("no operation")


def bodies_that_are_not_json():
    for body in (
        b"", b"{", b"}", b'{"Limit"', b'{"Limit":', b'{"Limit":1', b'{"Limit":1,}', b"{,}", b"nul",
        b'{"Limit":1}{"Limit":1}', b'{"Limit":1} x', b"\xff\xfe{}", b'{"\xff":1}', b"\0", b"{'a':1}",
        b'{"Marker":"\\ud800"}', b'{"Marker":"\\x"}', b'{"Limit":01}', b'{"Limit":1e999}',
        b'{"Limit":NaN}', b"\xef\xbb\xbf{}", b"Limit=1", b"<Limit>1</Limit>",
    ):  # fmt: skip
        told = told_off(repr(body), post(body))
        expect(f"{body!r}: name", told, "SerializationException")
    good("bodies that are not JSON")


def members_of_another_type():
    key = made[SYMMETRIC]
    blob = base64.b64encode(b"x").decode()
    for operation, bodies in {
        "ListKeys": [[], [1], "x", 1, None, True, {"Limit": "1"}, {"Limit": 1.5}, {"Limit": True},
                     {"Limit": 2**31}, {"Limit": -(2**63)}, {"Limit": 2**64}, {"Limit": 0},
                     {"Limit": -1}, {"Limit": 1001}, {"Limit": []}, {"Marker": 1}, {"Marker": {}},
                     {"Marker": "x"}],
        "DescribeKey": [{}, [key], {"KeyId": 1}, {"KeyId": None}, {"KeyId": ["x"]}, {"KeyId": ""},
                        {"KeyId": "x" * 60_000}, {"KeyId": "\0"}, {"KeyId": "../../etc/passwd"},
                        {"KeyId": key, "GrantTokens": "x"}, {"KeyId": key, "GrantTokens": [1]},
                        {"KeyId": key, "GrantTokens": ["t"] * 11}],
        "Encrypt": [{"KeyId": key}, {"KeyId": key, "Plaintext": 1}, {"KeyId": key, "Plaintext": [1]},
                    {"KeyId": key, "Plaintext": ""}, {"KeyId": key, "Plaintext": "*"},
                    {"KeyId": key, "Plaintext": "eA"}, {"KeyId": key, "Plaintext": "eA=="[:3]},
                    {"KeyId": key, "Plaintext": "eA==eA=="}, {"KeyId": key, "Plaintext": "e A=="},
                    {"KeyId": key, "Plaintext": blob, "EncryptionContext": []},
                    {"KeyId": key, "Plaintext": blob, "EncryptionContext": {"a": 1}},
                    {"KeyId": key, "Plaintext": blob, "EncryptionContext": {"a": {"b": "c"}}},
                    {"KeyId": key, "Plaintext": blob, "EncryptionContext": {"": "c"}},
                    {"KeyId": key, "Plaintext": blob, "EncryptionContext": {"a": "x" * 9000}},
                    {"KeyId": key, "Plaintext": blob, "DryRun": "true"},
                    {"KeyId": key, "Plaintext": blob, "EncryptionAlgorithm": "ROT13"}],
        "Decrypt": [{}, {"CiphertextBlob": ""}, {"CiphertextBlob": "===="}, {"CiphertextBlob": {}},
                    {"CiphertextBlob": base64.b64encode(b"x" * 6145).decode()},
                    {"CiphertextBlob": blob, "Recipient": "x"},
                    {"CiphertextBlob": blob, "Recipient": {}}],
        "CreateKey": [{"Tags": {}}, {"Tags": [1]}, {"Tags": [{"TagKey": "a", "TagValue": 1}]},
                      {"Tags": [["a", "b"]]}, {"Tags": [{}]}, {"MultiRegion": "yes"},
                      {"Description": 1}, {"Description": "x" * 8193}, {"KeySpec": ["RSA_2048"]},
                      {"KeySpec": "RSA_2048"}, {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"},
                      {"Origin": "AWS_CLOUDHSM"}, {"CustomKeyStoreId": "x"}],
        "Sign": [{"KeyId": made["RSA_2048", "SIGN_VERIFY"], "Message": blob},
                 {"KeyId": made["RSA_2048", "SIGN_VERIFY"], "Message": blob,
                  "SigningAlgorithm": "ECDSA_SHA_256"},
                 {"KeyId": made["RSA_2048", "SIGN_VERIFY"], "Message": blob,
                  "SigningAlgorithm": "RSASSA_PSS_SHA_256", "MessageType": "EXTERNAL_MU"}],
    }.items():  # fmt: skip
        for body in bodies:
            text = json.dumps(body)
            told_off(f"{operation} {text:.120}", post(text, f"TrentService.{operation}"))
    good("members of another type")


def repeated_members():
    key = made[SYMMETRIC]
    body = f'{{"KeyId":"{key}","KeyId":"fake"}}'
    told_off("KeyId twice", post(body, "TrentService.DescribeKey"))
    context = '{"a":"1","a":"2"}'
    body = f'{{"KeyId":"{key}","Plaintext":"eA==","EncryptionContext":{context}}}'
    told_off("a pair of the context twice", post(body, "TrentService.Encrypt"))
    unknown = '{"Unknown":1,"Unknown":{"a":[null]},"limit":"lower case"}'
    expect("unknown members are ignored", post(unknown).status, 200)
    good("repeated members")


def deep_and_large():
    for depth in (100, 1000, 10_000):
        nested = "[" * depth + "]" * depth
        told_off(f"{depth} deep", post(f'{{"Marker":{nested}}}'))
        told_off(f"{depth} deep at the top", post(nested))
        told_off(f"{depth} deep, not closed", post('{"a":' * depth))
        answer = post(f'{{"Unknown":{nested}}}')
        expect_that(f"{depth} deep and unknown", answer.status in (200, 400), answer.status)
    most = 64 * 1024
    padded = "{" + " " * (most - 2) + "}"
    expect("64 KiB", post(padded).status, 200)
    for size in (most + 1, most + 4096, 1 << 20):
        body = "{" + " " * (size - 2) + "}"
        try:
            told = told_off(f"{size} bytes", post(body))
        except OSError as error:
            # The answer may come, and the connection go, while the rest is being sent.
            expect_that(f"{size} bytes", size > most + 4096, error)
        else:
            expect(f"{size} bytes", told, "RequestEntityTooLargeException")
    good("deep and large")


def other_regions():
    def signed(region):
        return {
            "Authorization": f"AWS4-HMAC-SHA256 Credential=unused/20300101/{region}/kms/aws4_request, "
            "SignedHeaders=host, Signature=00"
        }

    told = told_off("us-east-1", post("{}", headers=signed("us-east-1")))
    expect("us-east-1", told, "InvalidSignatureException")
    expect("local", post("{}", headers=signed("local")).status, 200)
    for text in ("", "Credential=", "Credential=a/b", "Bearer x", "\xff", "Credential=" + "/" * 99):
        status = post("{}", headers={"Authorization": text}).status
        expect_that(f"Authorization {text!r}", status in (200, 400, 401, 403), status)
    for headers in (
        {"amz-sdk-request": "attempt=-1"}, {"amz-sdk-request": "attempt=99999999999999999999"},
        {"amz-sdk-request": ";;;="}, {"amz-sdk-invocation-id": "x" * 2000},
        {"amz-sdk-invocation-id": "\xff"}, {"amz-sdk-invocation-id": ""},
        {"Content-Type": "text/plain"},
    ):  # fmt: skip
        status = post("{}", headers=headers).status
        expect_that(f"{headers!r:.60}", status in (200, 400), status)
    good("other headers")


def random_bodies():
    """Good requests with bytes changed, the same each run."""
    source = random.Random(SEED)
    key = made[SYMMETRIC]
    blob = NODES[0].encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})
    blob = base64.b64encode(blob["CiphertextBlob"]).decode()
    requests = [
        ("Encrypt", {"KeyId": key, "Plaintext": "eA==", "EncryptionContext": {"a": "b"}}),
        ("Decrypt", {"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}}),
        ("GenerateDataKey", {"KeyId": key, "NumberOfBytes": 32, "GrantTokens": []}),
        ("ListKeys", {"Limit": 3, "Marker": None}),
    ]
    for number in range(RANDOM_BODIES):
        operation, request = requests[number % len(requests)]
        body = bytearray(json.dumps(request).encode())
        for _ in range(source.randint(1, 4)):
            place = source.randrange(len(body))
            change = source.randrange(3)
            if change == 0:
                body[place] = source.randrange(256)
            elif change == 1:
                del body[place]
            else:
                body.insert(place, source.choice(b'{}[]",:0\\'))
        answer = post(bytes(body), f"TrentService.{operation}", number % len(ENDPOINTS))
        if answer.status != 200:
            told_off(f"seed {SEED}, {number}: {bytes(body)!r:.120}", answer)
    good("random bodies")


SECTIONS = [
    targets_that_are_none,
    bodies_that_are_not_json,
    members_of_another_type,
    repeated_members,
    deep_and_large,
    other_regions,
    random_bodies,
]
