"""Ten thousand requests that no SDK would send, to every operation that is offered, over connections that are
kept: each is answered, no answer is an error of the service, memory stays as it is, nothing panics.

The requests are made of boto3's model of each operation, so a new one is among them by itself."""

import base64
import collections
import concurrent.futures
import itertools
import json
import os
import random
import time
from pathlib import Path

from flood_wire import Wire, framed
from guide import rows
from harness import ENDPOINTS, NODES, expect, expect_that, fail, make_key
from hostile import good, told_off

SEED = 20
REQUESTS = 10_000
# What a node may grow by while it answers them, once it has answered every second of them: buffers and arenas
# settle, and what is carried out (every fourth or so of the changed bodies) leaves records and audit entries.
GROWTH_MIB_MAX = 32
REFUSED = None
NOT_JSON = {"SerializationException"}
TOO_LARGE = {"RequestEntityTooLargeException"}
UNKNOWN = {"UnknownOperationException"}

# A request, and what it may be answered: an error of one of these names, or any at all (REFUSED), or, if it
# may still be a good one, an answer.
Case = collections.namedtuple("Case", "group what sent names may_succeed", defaults=(REFUSED, False))

# Not offered anywhere, so that a body with one of these would be refused for it alone.
NEVER = {"CustomKeyStoreId", "XksKeyId", "Recipient", "BypassPolicyLockoutSafetyCheck"}
IGNORED = {"ResourceOwners"}
PREFERRED = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "ECC_NIST_P256", "AES_256")


def sample(shape, name, ring):
    """A value of that shape: as good as it can be without knowing the operation."""
    if name.endswith("KeyId"):
        return ring["key"]
    if shape.type_name == "structure":
        wanted = {member: of for member, of in shape.members.items() if member not in NEVER | IGNORED}
        if "KeySpec" in wanted:
            wanted.pop("NumberOfBytes", None)
        return {member: sample(of, member, ring) for member, of in wanted.items()}
    if shape.type_name == "list":
        return [sample(shape.member, name, ring)]
    enum = getattr(shape, "enum", [])
    return {
        "map": {"purpose": "flood"},
        "blob": ring["blob"] if "Ciphertext" in name else base64.b64encode(b"x" * 32).decode(),
        "integer": 7,
        "boolean": True,
        "timestamp": 2_000_000_000,
        "string": next((it for it in PREFERRED if it in enum), enum[0] if enum else "alias/flood"),
    }[shape.type_name]


def wrong(shape):
    """Values that are of no shape like it."""
    not_text = [1, -1.5, True, [], {}, ["x"]]
    if shape.type_name == "list":
        return ["x", 1, True, {}] + [[bad] for bad in wrong(shape.member)]
    if shape.type_name == "structure":
        inner = [{name: bad} for name, of in shape.members.items() for bad in wrong(of)]
        return ["x", 1, True, [], [1]] + inner[:8]
    return {
        "string": not_text,
        "blob": not_text,
        "map": ["x", 1, True, [], [["a", "b"]], {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": {}}],
        "integer": ["1", 1.5, True, [], {}, 2**31, -(2**31) - 1, 2**64, 1e99],
        "boolean": ["true", 0, 1, [], {}],
        "timestamp": ["2030-01-01", True, [], {}, -1, 1e300],
    }[shape.type_name]


class Operation:
    def __init__(self, name, ring):
        self.target = f"TrentService.{name}"
        shape = NODES[0].meta.service_model.operation_model(name).input_shape
        members = {} if shape is None else shape.members
        # The others are ignored, whatever they are: of a custom key store all but what it is called.
        looked_at = {it for it in members if it not in IGNORED}
        if name.endswith("CustomKeyStore"):
            looked_at &= {"CustomKeyStoreId", "CustomKeyStoreName"}
        self.members = {name: of for name, of in members.items() if name in looked_at}
        body = {} if shape is None else sample(shape, "", ring)
        self.body = {name: value for name, value in body.items() if name in looked_at}

    def case(self, group, body, names=REFUSED, may_succeed=False):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        what = f"{group}: {self.target} {body!r:.160}"
        return Case(group, what, framed(body, self.target), names, may_succeed)

    def of_type(self, *types):
        return [name for name, of in self.members.items() if of.type_name in types]

    def raw(self, name, value):
        """The body with these bytes in the place of that member's value."""
        rest = json.dumps({**self.body, name: "PLACE"}).encode()
        return rest.replace(b'"PLACE"', value)


def truncated(operation, _):
    body = json.dumps(operation.body).encode()
    for length in range(len(body)):
        yield operation.case("truncated", body[:length], NOT_JSON)


def of_another_type(operation, _):
    for name, of in operation.members.items():
        for bad in wrong(of):
            yield operation.case("another type", {**operation.body, name: bad}, NOT_JSON)
    for body in ([], [operation.body], "x", 1, None, True):
        yield operation.case("another type", body, NOT_JSON)


def repeated(operation, _):
    for name, value in operation.body.items():
        again = f', "{name}": {json.dumps(value)}}}'.encode()
        yield operation.case("repeated", json.dumps(operation.body).encode()[:-1] + again, NOT_JSON)
    for name in operation.of_type("map"):
        pairs = b'{"a": "1", "b": "2", "a": "1"}'
        yield operation.case("repeated", operation.raw(name, pairs), NOT_JSON)


BASE64 = (
    "*", "eA", "eA=", "eA==eA==", "e A==", "====", "=", "eA==\n", "-_-_", "eB==", "\0", "\u00e9", "eA==x",
)  # fmt: skip


def not_base64(operation, _):
    for name in operation.of_type("blob"):
        for text in BASE64:
            yield operation.case("not base64", {**operation.body, name: text}, NOT_JSON)


UTF_8 = (
    b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"\xf4\x90\x80\x80", b"\x80",
    b"\\ud800", b"\\udc00", b"\\ud800\\u0041", b"\\u12", b"\\x", b"\n", b"\0",
)  # fmt: skip


def not_utf_8(operation, _):
    for name in operation.of_type("string", "blob"):
        for text in UTF_8:
            yield operation.case("not UTF-8", operation.raw(name, b'"eA' + text + b'=="'), NOT_JSON)


def deep(operation, _):
    for depth in (200, 2_000, 20_000):
        nested = b"[" * depth + b"]" * depth
        yield operation.case("deep", nested, NOT_JSON)
        yield operation.case("deep", b'{"a":' * (depth // 2), NOT_JSON)
        # Skipped, however deep: without recursion.
        yield operation.case("deep", b'{"Unknown": ' + nested + b"}", may_succeed=True)
        for name in list(operation.members)[:2]:
            yield operation.case("deep", operation.raw(name, nested), NOT_JSON)


def garbage(operation, source):
    for _ in range(20):
        body = source.randbytes(source.choice((1, 2, 7, 64, 500, 4_000)))
        yield operation.case("garbage", body, NOT_JSON)
    for _ in range(20):
        body = "".join(source.choices('{}[]",:0e.-\\ntrue', k=source.randrange(2, 200)))
        yield operation.case("garbage", f"[{body}".encode(), NOT_JSON)


def oversize(operation, source):
    size = 65_536 + source.choice((1, 2, 100, 4_096))
    body = json.dumps(operation.body).encode().ljust(size)
    yield operation.case("oversize", body, TOO_LARGE)
    sent = framed(body, operation.target, chunks=[source.randrange(1, 9_000) for _ in range(99)])
    yield Case("oversize", f"oversize in chunks: {operation.target}", sent, TOO_LARGE)


def in_chunks(operation, source):
    """However a body is cut up, it is the same body."""
    body = json.dumps(operation.body).encode()
    for text, names in ((body[:-1], NOT_JSON), (b"\xff" + body, NOT_JSON), (b"[]", NOT_JSON)):
        chunks = [source.randrange(1, 20) for _ in range(9)]
        sent = framed(text, operation.target, chunks=chunks)
        yield Case("in chunks", f"in chunks: {operation.target} {text!r:.120}", sent, names)


def of_other_headers(operation, source):
    name = operation.target.removeprefix("TrentService.")
    printable = [chr(code) for code in range(33, 256) if code not in range(127, 161)]
    for target in (
        name, f"trentservice.{name}", f"TrentService.{name}x", f"TrentService.{name.lower()}",
        f"TrentService.{name}.{name}", f"TrentService/{name}", f"DynamoDB_20120810.{name}",
        "TrentService." + "".join(source.choices(printable, k=source.randrange(1, 200))),
    ):  # fmt: skip
        sent = framed(b"{}", target)
        yield Case("other headers", f"other headers: {target!r:.80}", sent, UNKNOWN)
    for header in ("Content-Type", "Authorization", "amz-sdk-invocation-id", "amz-sdk-request", "Accept"):
        value = "".join(source.choices(printable, k=source.randrange(1, 300)))
        sent = framed(b"[]", operation.target, {header: value})
        yield Case("other headers", f"other headers: {header} {value!r:.60}", sent)


def changed(operation, source):
    """The good body with a few bytes changed: it may be one still."""
    body = bytearray(json.dumps(operation.body).encode())
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(body))
        change = source.randrange(3)
        if change == 0:
            body[place] = source.randrange(256)
        elif change == 1 and len(body) > 1:
            del body[place]
        else:
            body.insert(place, source.choice(b'{}[]",:0\\'))
    return operation.case("changed", bytes(body), may_succeed=True)


GROUPS = (
    truncated, of_another_type, repeated, not_base64, not_utf_8, deep, garbage, oversize, in_chunks,
    of_other_headers,
)  # fmt: skip


def cases():
    """The same each run, but for the names of keys."""
    source = random.Random(SEED)
    key = make_key(Description="of the flood")["Arn"]
    context = {"purpose": "flood"}
    blob = NODES[0].encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    ring = {"key": key, "blob": base64.b64encode(blob).decode()}
    operations = [Operation(name, ring) for name, standing in rows() if standing == "offered"]
    all_of = [
        list(itertools.chain.from_iterable(group(operation, source) for operation in operations))
        for group in GROUPS
    ]
    turns = itertools.cycle(operations)
    rest = max(REQUESTS - sum(map(len, all_of)), REQUESTS // 10)
    all_of.append([changed(next(turns), source) for _ in range(rest)])
    return list(itertools.chain.from_iterable(all_of))


def sent_to_all(requests):
    """Every third to each node, in turn, on one connection each as long as it holds."""
    answers = [None] * len(requests)
    wires = [Wire(endpoint) for endpoint in ENDPOINTS]

    def one(number):
        for at in range(number, len(requests), len(wires)):
            answers[at] = wires[number].ask(requests[at].sent)
        wires[number].close()

    with concurrent.futures.ThreadPoolExecutor(len(wires)) as pool:
        list(pool.map(one, range(len(wires))))
    return answers, sum(wire.opened for wire in wires)


def nodes():
    return json.loads((Path(os.environ["CONCLAVE_DEV_DIR"]) / "cluster.json").read_text())["nodes"]


def resident_mib():
    """Of each node."""

    def of(pid):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1024

    return {node["id"]: of(node["pid"]) for node in nodes()}


def ten_thousand_are_refused():
    requests = cases()
    expect_that("there are as many as that", len(requests) >= REQUESTS, len(requests))
    sent_to_all(requests[::2])
    before = resident_mib()
    began = time.monotonic()
    answers, opened = sent_to_all(requests)
    seconds = time.monotonic() - began
    grown = {node: after - before[node] for node, after in resident_mib().items()}
    tally = collections.Counter()
    for request, answer in zip(requests, answers, strict=True):
        if answer is None:
            fail(f"{request.what}: no answer")
        elif not (request.may_succeed and answer.status == 200):
            name = told_off(request.what, answer)
            if request.names:
                expect_that(f"{request.what}: name", name in request.names, name)
        tally[request.group, answer and answer.status] += 1
    good("the flood")
    for node, mib in grown.items():
        expect_that(f"growth of {node} in MiB", mib <= GROWTH_MIB_MAX, mib)
    told = ", ".join(f"{group} {status}: {count}" for (group, status), count in tally.items())
    print(f"{len(requests)} in {seconds:.0f} s on {opened} connections; {told}")
    print("grown by " + ", ".join(f"{node} {mib:.1f} MiB" for node, mib in grown.items()), flush=True)


def frames_that_are_none():
    """HTTP itself broken: refused or cut, and nobody else is troubled."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: TrentService.ListKeys\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    broken = (
        chunked + b"zz\r\n{}\r\n0\r\n\r\n", chunked + b"-1\r\n{}\r\n0\r\n\r\n",
        chunked + b"FFFFFFFFFFFFFFFFF\r\n{}", chunked + b"2\r\n{}xx0\r\n\r\n", chunked + b"\r\n\r\n",
        chunked + b"2;" + b"x" * 70_000 + b"\r\n{}\r\n0\r\n\r\n",
        head + b"Content-Length: -1\r\n\r\n{}", head + b"Content-Length: x\r\n\r\n{}",
        head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", head + b"Broken\r\n\r\n",
        head + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        head + b"X: " + b"x" * 70_000 + b"\r\n\r\n", head + b"X: y\r\n" * 9_000 + b"\r\n",
        head + b"Transfer-Encoding: gzip\r\n\r\n{}", b"POST / HTTP/9.9\r\n\r\n", b"\0" * 999, b"{}\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    )  # fmt: skip

    def status(endpoint, sent):
        wire = Wire(endpoint)
        answer = wire.ask(sent)
        wire.close()
        return answer and answer.status

    # At once, since a node waits a while for what seems to be missing.
    asked = list(itertools.product(ENDPOINTS, broken))
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        told = list(pool.map(lambda one: status(*one), asked))
    for (_, sent), got in zip(asked, told, strict=True):
        expect_that(f"frame {sent!r:.120}", got is None or 400 <= got < 500, got)
    good("broken frames")


def nothing_panicked():
    for log in sorted(Path(os.environ["CONCLAVE_DEV_DIR"]).glob("n*/log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if "panic" in line]
        expect(f"panics in {log}", lines, [])
    expect("every node is there", [Path(f"/proc/{node['pid']}").exists() for node in nodes()], [True] * 3)


SECTIONS = [ten_thousand_are_refused, frames_that_are_none, nothing_panicked]
