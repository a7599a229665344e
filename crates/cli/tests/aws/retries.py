"""A call that is tried again, by the SDK itself or by hand, is done once."""

import datetime
import http.client
import http.server
import ipaddress
import json
import ssl
import tempfile
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import harness
from harness import ENDPOINTS, NODES, attempt, expect, expect_that, new_id, post

CREATE = "TrentService.CreateKey"


def keys_there_are():
    pages = NODES[0].get_paginator("list_keys").paginate()
    return sum(len(page["Keys"]) for page in pages)


def a_second_attempt_is_given_the_first_ones_answer():
    before, call = keys_there_are(), new_id()
    body = json.dumps({"Description": "made once"})
    first = post(body, CREATE, 0, attempt(call, 1))
    expect("CreateKey", first.status, 200)
    for number, endpoint in ((2, 1), (3, 2), (2, 0)):
        again = post(body, CREATE, endpoint, attempt(call, number))
        expect(f"attempt {number}", (again.status, again.json()), (200, first.json()))
    expect("one key", keys_there_are(), before + 1)
    other = post(json.dumps({"Description": "other"}), CREATE, 1, attempt(call, 2))
    told = (other.status, other.json()["__type"])
    expect("the same id for another request", told, (400, "ValidationException"))
    fresh = post(body, CREATE, 1, attempt(new_id(), 2))
    expect_that("a first attempt that never came", fresh.json() != first.json())
    expect("two keys", keys_there_are(), before + 2)
    without = [post(body, CREATE).json()["KeyMetadata"]["KeyId"] for _ in range(2)]
    expect_that("no id, no retry", without[0] != without[1])


def a_refusal_is_given_again_too():
    key = NODES[0].create_key()["KeyMetadata"]["KeyId"]
    call, body = new_id(), json.dumps({"KeyId": key})
    NODES[0].schedule_key_deletion(KeyId=key)
    first = post(body, "TrentService.EnableKey", 0, attempt(call, 1))
    NODES[1].cancel_key_deletion(KeyId=key)
    again = post(body, "TrentService.EnableKey", 1, attempt(call, 2))
    expect("refused", (first.status, first.json()["__type"]), (400, "KMSInvalidStateException"))
    expect("refused again", (again.status, again.json()), (400, first.json()))
    expect("nothing done", NODES[2].describe_key(KeyId=key)["KeyMetadata"]["KeyState"], "Disabled")


class Lossy(http.server.BaseHTTPRequestHandler):
    """Passes every request on; of the first answer of each call nothing comes back."""

    protocol_version = "HTTP/1.1"
    calls = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call, sent = self.headers["amz-sdk-invocation-id"], self.headers["amz-sdk-request"]
        is_first = call not in [earlier for earlier, _ in self.calls]
        self.calls.append((call, sent))
        # Each attempt to another node.
        answer = pass_on(ENDPOINTS[len(self.calls) % len(ENDPOINTS)], body, self.headers)
        if is_first:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type"))
        data = answer.read()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def pass_on(endpoint, body, headers):
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPSConnection(address.hostname, address.port, context=harness._tls, timeout=60)
    connection.request("POST", "/", body, dict(headers.items()))
    return connection.getresponse()


def certificate(folder):
    """For a server on loopback, of its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lossy")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = f"{folder}/lossy.pem"
    with open(path, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.write(made.public_bytes(Encoding.PEM))
    return path


def boto3_tries_again_by_itself():
    with tempfile.TemporaryDirectory() as folder:
        pem = certificate(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lossy)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            through_it(f"https://127.0.0.1:{server.server_address[1]}", pem)
        finally:
            server.shutdown()
            server.server_close()


def through_it(endpoint, authority):
    ca, harness.CA = harness.CA, authority
    try:
        lossy = harness.client(endpoint, retries={"mode": "standard", "total_max_attempts": 3})
    finally:
        harness.CA = ca
    before = keys_there_are()
    key = lossy.create_key(Description="through a lossy network")["KeyMetadata"]["Arn"]
    expect("one key", keys_there_are(), before + 1)
    expect("CreateKey was tried twice", len(Lossy.calls), 2)
    (first, number), (second, next_number) = Lossy.calls
    expect("as one call", first, second)
    told = (number.split(";")[0], next_number.split(";")[0])
    expect("and counted", told, ("attempt=1", "attempt=2"))
    material = NODES[0].describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    lossy.rotate_key_on_demand(KeyId=key)
    lossy.rotate_key_on_demand(KeyId=key)
    told = NODES[1].describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    expect_that("rotated", told != material)
    blob = lossy.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    expect("Decrypt", lossy.decrypt(CiphertextBlob=blob)["Plaintext"], b"x")


SECTIONS = [
    a_second_attempt_is_given_the_first_ones_answer,
    a_refusal_is_given_again_too,
    boto3_tries_again_by_itself,
]
