"""Clients that send a byte at a time to the real service."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.server import Server, running_server

HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with running_server(deadline_s=3) as service:
        yield service


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /",
        HEAD,
        HEAD + b"Content-Length: 1000\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["a path", "a head", "a head and its length", "a head and chunks"],
)
def test_a_byte_at_a_time_gets_408_and_no_more(service: Server, begun: bytes) -> None:
    chunked = b"chunked" in begun
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.5) as line:
        line.sendall(begun)
        answer, ended = b"", False
        ends = time.monotonic() + 60
        while not ended and time.monotonic() < ends:
            try:
                line.sendall(b"1\r\n \r\n" if chunked else b"x")
                part = line.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                part = b""
            answer, ended = answer + part, not part
    assert ended
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["kind"] == "request_too_slow"


def test_others_are_answered_meanwhile(service: Server) -> None:
    lines = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(20)]
    for line in lines:
        line.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    answer = httpx.post(f"{service.url}/v1/classify", json={"texts": ["A text."]}, timeout=30)
    assert answer.status_code == 200
    for line in lines:
        line.close()


def test_a_body_in_chunks_may_not_be_too_long_either(service: Server) -> None:
    parts = (b" " * 100_000 for _ in range(30))
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{service.url}/v1/classify", content=parts, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "body_too_large")
