"""What the checks share: clients of each node, expectations that are counted, and plain HTTPS."""

import http.client
import itertools
import json
import os
import ssl
import time
import traceback
import urllib.parse
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINTS = os.environ["CONCLAVE_ENDPOINTS"].split(",")
CA = os.environ["CONCLAVE_CA_CERT"]
CERT = os.environ["CONCLAVE_CLIENT_CERT"]
KEY = os.environ["CONCLAVE_CLIENT_KEY"]
# A development cluster's domain is called so.
REGION = "local"
ACCOUNT = "000000000000"

failures = []
passed = 0


def client(endpoint, **config):
    return boto3.client(
        "kms",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="unused",
        aws_secret_access_key="unused",
        verify=CA,
        config=Config(client_cert=(CERT, KEY), **config),
    )


NODES = [client(endpoint) for endpoint in ENDPOINTS]
_turn = itertools.cycle(NODES)
# For what boto3 itself would refuse to send.
unchecked = client(ENDPOINTS[0], parameter_validation=False)


def node():
    """Another node each time."""
    return next(_turn)


def expect(what, got, wanted):
    """Counts, and goes on: one run tells everything that is wrong."""
    global passed
    if got == wanted:
        passed += 1
    else:
        fail(f"{what}: got {got!r}, wanted {wanted!r}")


def expect_that(what, holds, got=None):
    expect(what if got is None else f"{what} ({got!r})", bool(holds), True)


def fail(line):
    failures.append(line)
    print(f"FAILED {line}", flush=True)


def verifies(what, verify, *arguments):
    """`verify` is a library's, which raises if it does not."""
    try:
        verify(*arguments)
    except Exception as error:  # whatever the library raises
        fail(f"{what}: {error!r}")
    else:
        expect(what, True, True)


def refused(what, call, code, message, **arguments):
    """The error's name and message to the letter; `message` may be a predicate."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        told = error.response["Error"]
        expect(f"{what}: code", told["Code"], code)
        if callable(message):
            expect_that(f"{what}: message", message(told["Message"]), told["Message"])
        else:
            expect(f"{what}: message", told["Message"], message)
        expect(f"{what}: HTTP status", status, 400)
    else:
        answer.pop("ResponseMetadata", None)
        fail(f"{what}: answered {answer!r}, wanted {code}")


def members(what, answer, wanted):
    """An answer has these members and no others; gives it back."""
    expect(f"{what}: members", sorted(set(answer) - {"ResponseMetadata"}), sorted(wanted))
    return answer


def section(run):
    """One group of checks: what it stumbles over is a failure of it, and the next one runs."""
    before, began = passed, time.monotonic()
    try:
        run()
    except Exception:
        fail(f"{run.__module__}.{run.__name__} stopped:\n{traceback.format_exc()}")
    seconds = time.monotonic() - began
    print(f"{run.__module__}.{run.__name__}: {passed - before} held, {seconds:.1f} s", flush=True)


def make_key(**arguments):
    return node().create_key(**arguments)["KeyMetadata"]


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    def json(self):
        return json.loads(self.body)


_tls = ssl.create_default_context(cafile=CA)
_tls.load_cert_chain(CERT, KEY)


def post(body, target="TrentService.ListKeys", endpoint=0, headers=None, path="/"):
    """One request as it is given, nothing signed, on a connection of its own."""
    address = urllib.parse.urlsplit(ENDPOINTS[endpoint])
    connection = http.client.HTTPSConnection(address.hostname, address.port, context=_tls, timeout=60)
    sent = {"Content-Type": "application/x-amz-json-1.1"}
    if target is not None:
        sent["X-Amz-Target"] = target
    sent.update(headers or {})
    try:
        connection.request("POST", path, body, sent)
        response = connection.getresponse()
        return Answer(response, response.read())
    finally:
        connection.close()


def attempt(invocation_id, number):
    """The two headers that the SDKs send with each attempt of a call."""
    return {
        "amz-sdk-invocation-id": invocation_id,
        "amz-sdk-request": f"attempt={number}; max=3",
    }


def new_id():
    return str(uuid.uuid4())
