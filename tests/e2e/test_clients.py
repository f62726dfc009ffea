"""Clients that hang up, and clients that send a byte at a time."""

from __future__ import annotations

import json
import socket
import threading
import time
from urllib.parse import urlsplit

from diplophrase.annotations import read_annotations
from diplophrase.client import Client
from tests.e2e.server import ROOT, Server

SLOW_CLIENTS = 20
SECONDS = 300  # no test takes so long; it only must not wait for ever


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=SECONDS)


def request_of(path: str, payload: object) -> tuple[bytes, bytes]:
    """Return the head and the body of a POST request."""
    body = json.dumps(payload).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode(), body


def wait_until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def gone(server: Server, route: str) -> float:
    labels = f'method="POST",route="{route}",status="499"'
    return server.figure(f"diplophrase_requests_total{{{labels}}}")


def test_a_client_that_hangs_up_while_it_waits_costs_no_more_work(server: Server) -> None:
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    document = "\n".join(note.text for note in notes if note.text[-1] in ".!?")[:200_000]
    before, ran = gone(server, "/v1/statements"), server.figure("diplophrase_batch_texts_sum")
    with connect(server) as connection:
        connection.sendall(b"".join(request_of("/v1/statements", {"text": document})))
    wait_until(lambda: gone(server, "/v1/statements") == before + 1, "the request is given up")
    wait_until(lambda: server.figure("diplophrase_texts_in_flight") == 0, "its texts are dropped")
    # of its hundreds of sentences, some may have run before the server saw that nobody waits
    assert server.figure("diplophrase_batch_texts_sum") - ran < 0.5 * document.count("\n")


def test_a_client_that_hangs_up_inside_its_body_is_counted_as_gone(server: Server) -> None:
    before = gone(server, "/v1/classify")
    head, body = request_of("/v1/classify", {"texts": ["Peace."]})
    with connect(server) as connection:
        connection.sendall(head + body[:5])
    wait_until(lambda: gone(server, "/v1/classify") == before + 1, "the request is given up")


def test_slow_clients_hold_up_nobody(server: Server, client: Client) -> None:
    head, body = request_of("/v1/classify", {"texts": ["Peace."]})
    slow = [connect(server) for _ in range(SLOW_CLIENTS)]
    for connection in slow:
        connection.sendall(head)
    stop, sent = threading.Event(), [0]

    def trickle() -> None:
        while sent[0] < len(body) - 1 and not stop.wait(0.05):
            for connection in slow:
                connection.sendall(body[sent[0] : sent[0] + 1])
            sent[0] += 1

    thread = threading.Thread(target=trickle)
    thread.start()
    answered = 0
    while thread.is_alive():
        assert len(client.classify(["Peace."])) == 1
        answered += thread.is_alive()
    stop.set()
    thread.join()
    assert answered > 0  # while the slow ones were still sending
    for connection in slow:
        connection.sendall(body[sent[0] :])
        with connection, connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
