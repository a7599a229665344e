"""Requests as bytes, over a connection that is kept: for what no HTTP library would send."""

import http.client
import itertools
import socket
import urllib.parse

from harness import Answer, _tls

TIMEOUT_S = 60


def framed(body, target, headers=None, chunks=None):
    """One request; `chunks` are the lengths that the body is cut into, over and over."""
    sent = {"Host": "flood", "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    sent.update(headers or {})
    if chunks is None:
        sent["Content-Length"] = str(len(body))
    else:
        sent["Transfer-Encoding"] = "chunked"
        body = b"".join(cut(body, itertools.cycle(chunks)))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def cut(body, lengths):
    while body:
        length = next(lengths)
        yield f"{len(body[:length]):x}\r\n".encode() + body[:length] + b"\r\n"
        body = body[length:]
    yield b"0\r\n\r\n"


class Wire:
    def __init__(self, endpoint):
        self.address = urllib.parse.urlsplit(endpoint)
        self.socket = None
        self.opened = 0

    def ask(self, sent):
        """The answer, or none if the connection ended without one. Opens another where the last one ended."""
        if self.socket is None:
            self.opened += 1
            plain = socket.create_connection((self.address.hostname, self.address.port), TIMEOUT_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = _tls.wrap_socket(plain, server_hostname=self.address.hostname)
        try:
            self.socket.sendall(sent)
        except OSError:
            pass  # It may have answered and hung up before it had all.
        try:
            response = http.client.HTTPResponse(self.socket, method="POST")
            response.begin()
            answer = Answer(response, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if response.will_close:
            self.close()
        return answer

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None
