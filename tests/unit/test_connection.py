"""Slow clients on a real port, before a tiny application."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from serving.connection import BoundedConnection
from serving.deadline import Deadline
from serving.errors import install_errors

LIMIT_S = 1.0
HEAD = b"POST /v1/things HTTP/1.1\r\nHost: service.test\r\nContent-Type: application/json\r\n"


class Thing(BaseModel):
    number: int


def make_app() -> FastAPI:
    app = FastAPI()
    install_errors(app)
    app.add_middleware(Deadline, seconds=LIMIT_S)

    @app.post("/v1/things")
    async def things(thing: Thing) -> int:
        return thing.number

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    protocol: Any = partial(BoundedConnection, limit_s=LIMIT_S)
    server = uvicorn.Server(
        uvicorn.Config(make_app(), port=0, http=protocol, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


def wait_until(happened: Any, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def line(server: uvicorn.Server) -> Iterator[socket.socket]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, timeout=30) as line:
        yield line


def dribble(line: socket.socket, content: bytes) -> bytes:
    """Send a byte at a time until the other side ends the connection; return what it said."""
    line.settimeout(LIMIT_S / 10)
    heard = b""
    for place in range(10_000):
        try:
            line.sendall(content[place % len(content) :][:1])
            part = line.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:  # it ended while we sent
            return heard
        if not part:
            return heard
        heard += part
    raise AssertionError("the connection stays open")


def status_and_kind(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["kind"]


def test_a_head_that_comes_byte_by_byte(line: socket.socket, server: uvicorn.Server) -> None:
    answer = dribble(line, b"GET /" + b"x" * 10_000)
    assert status_and_kind(answer) == (408, "request_too_slow")
    assert b"connection: close" in answer.lower()
    wait_until(lambda: not server.server_state.connections)


def test_a_body_that_comes_byte_by_byte(line: socket.socket, server: uvicorn.Server) -> None:
    line.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    assert status_and_kind(dribble(line, b" ")) == (408, "request_too_slow")
    wait_until(lambda: not server.server_state.connections and not server.server_state.tasks)


def test_the_rest_of_a_body_that_nobody_reads(line: socket.socket, server: uvicorn.Server) -> None:
    line.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert status_and_kind(dribble(line, b" ")) == (404, "not_found")
    wait_until(lambda: not server.server_state.connections)


def test_a_connection_that_says_nothing_is_ended_in_silence(line: socket.socket) -> None:
    assert line.recv(1000) == b""


def test_a_connection_lives_on_while_requests_come_in_time(server: uvicorn.Server) -> None:
    host, port = server.servers[0].sockets[0].getsockname()
    line = HTTPConnection(host, port, timeout=30)
    line.connect()
    own = line.sock
    ends = time.monotonic() + 2 * LIMIT_S
    while time.monotonic() < ends:
        line.request("POST", "/v1/things", '{"number": 7}', {"Content-Type": "application/json"})
        assert line.getresponse().read() == b"7"
        time.sleep(LIMIT_S / 5)
    assert line.sock is own  # it was not opened anew
    line.close()
