"""The real server under load on 127.0.0.1, against the classifier in process."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
from in_process import ROOT, rate, seed_sentences

from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier

_START_SECONDS = 60


@contextmanager
def server() -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Start the server; give its address, its process and the seconds until it was ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from diplophrase.command import main; main()", "serve"]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.get(f"{address}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                if time.perf_counter() - start > _START_SECONDS:
                    raise
                time.sleep(0.02)
        yield address, process, time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(timeout=30)


async def load(
    address: str, texts: Sequence[str], *, connections: int, size: int
) -> tuple[float, list[float]]:
    """Send all `texts`, `size` a request; return texts a second and each request's seconds.

    Requests go out on bare sockets: a client library takes as much of the processors, which are
    the server's too, as the server itself.
    """
    host, port = address.removeprefix("http://").split(":")
    requests = iter([list(texts[k : k + size]) for k in range(0, len(texts), size)])
    seconds: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for batch in requests:
            begun = time.perf_counter()
            body = json.dumps({"texts": batch}).encode()
            writer.write(
                b"POST /v1/classify HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(head.decode())
            await reader.readexactly(int(length[1]))
            seconds.append(time.perf_counter() - begun)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return len(texts) / (time.perf_counter() - start), seconds


async def beside_documents(address: str, texts: Sequence[str]) -> list[float]:
    """Return the seconds of single requests while five documents of 200,000 characters run."""
    document = " ".join(seed_sentences(3000))[:199_000]
    async with httpx.AsyncClient(timeout=120) as client:
        busy = [
            asyncio.create_task(client.post(f"{address}/v1/statements", json={"text": document}))
            for _ in range(5)
        ]
        await asyncio.sleep(0.5)
        seconds = []
        for text in texts:
            if all(task.done() for task in busy):
                break
            begun = time.perf_counter()
            answer = await client.post(f"{address}/v1/classify", json={"texts": [text]})
            answer.raise_for_status()
            seconds.append(time.perf_counter() - begun)
        for answer in await asyncio.gather(*busy):
            answer.raise_for_status()
        return seconds


def bare_seconds(texts: Sequence[str]) -> list[float]:
    """Return the seconds of tokenising and running one text at a time in process."""
    classifier = Classifier.load(current_bundle(ROOT / "models"))
    seconds = []
    for text in texts:
        begun = time.perf_counter()
        classifier.run(classifier.encode([text]))
        seconds.append(time.perf_counter() - begun)
    return seconds


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the resident memory of the server, in megabytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def p99(seconds: Sequence[float]) -> float:
    return float(np.percentile(seconds, 99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--soak", type=int, default=100_000, help="texts of the memory test")
    given = parser.parse_args()
    texts = seed_sentences(given.texts)
    classifier = Classifier.load(current_bundle(ROOT / "models"), runners=2)
    classifier.classify(texts[:200])
    inside = rate(lambda: classifier.classify(texts), len(texts), 2)
    print(f"in process: {inside:.0f} texts/s")
    with server() as (address, process, ready):
        print(f"start to ready: {ready:.2f} s")
        asyncio.run(load(address, texts[:500], connections=4, size=16))
        for connections, size in ((16, 1), (4, 64)):
            served, _ = asyncio.run(load(address, texts, connections=connections, size=size))
            print(f"{connections} x {size}: {served:.0f} texts/s, ratio {served / inside:.2f}")
        _, single = asyncio.run(load(address, texts[:1000], connections=1, size=1))
        bare = bare_seconds(texts[:1000])
        print(f"p99 of one text: {1000 * p99(single):.1f} ms, ratio {p99(single) / p99(bare):.2f}")
        beside = asyncio.run(beside_documents(address, texts[:1000]))
        print(f"p99 beside five documents: {1000 * p99(beside):.0f} ms of {len(beside)} requests")
        soak = seed_sentences(given.soak // 2)
        for half in (1, 2):
            asyncio.run(load(address, soak, connections=4, size=64))
            print(f"memory after {half * len(soak)} texts: {resident_mb(process):.0f} MB")


if __name__ == "__main__":
    main()
