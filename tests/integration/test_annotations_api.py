"""Annotations and the review queue over HTTP: all or nothing, every fault with its index."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from diplophrase.client import AsyncClient, Client, ServiceError
from diplophrase.errors import InvalidRequest
from diplophrase.settings import Settings
from serving.app import create_app
from serving.keys import create_key
from tests.integration.conftest import ROOT
from tests.integration.store_fixtures import draft, make_labels, open_store, plain, texts_of

SEED = "Kenya firmly abides by the one-China policy."
TEXTS = [
    "Both sides will expand trade and investment and speed up work on the railway.",
    "The two foreign ministers arrived in the capital on Monday.",
    "Brazil supports the reform of the United Nations Security Council.",
    "The soup needs another pinch of salt.",
]


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[TestClient]:
    """The service with a key in force, its labels in `folder`/labels."""
    keys = folder / "keys.json"
    _, secret = create_key(keys, "team")
    given = {"models": ROOT / "models", "keys": keys, "labels": folder / "labels", **settings}
    app = create_app(Settings(deadline_s=120, model_poll_s=3600, **given))
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield client


@pytest.fixture
def client(database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    make_labels(tmp_path / "labels", "seeds.jsonl")
    with serving(tmp_path, database=database_url, max_texts=4, max_characters=300) as client:
        yield client


def add(client: TestClient, *drafts: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = client.post("/v1/annotations", json={"annotations": list(drafts)}, headers=headers)
    body = answer.json()
    return answer.status_code, body.get("error", body)


def found(client: TestClient, **query: Any) -> list[str]:
    answer = client.get("/v1/annotations", params=query)
    assert answer.status_code == 200, answer.text
    return [item["annotation"]["text"] for item in answer.json()["annotations"]]


def test_added_labels_are_found_again(client: TestClient) -> None:
    status, body = add(client, draft(1, model_version="m1"), plain(2, "bea"))
    assert (status, body["conflicts"]) == (200, [])
    assert [(row["state"], row["event"]) for row in body["annotations"]] == [
        ("added", 1),
        ("added", 2),
    ]
    page = client.get("/v1/annotations").json()
    assert page["next_cursor"] is None
    [first, second] = page["annotations"]
    assert first["annotation"]["evidence"] == {"economic_cooperation": [22, 42]}
    assert (first["model_version"], first["origin"], first["conflicts"]) == ("m1", "api", [])
    assert second["annotation"]["annotator"] == "bea"
    assert found(client, label="economic_cooperation") == [draft(1)["text"]]
    assert found(client, annotator="bea") == [draft(2)["text"]]
    assert found(client, contains="in 1 PORTS") == [draft(1)["text"]]
    assert found(client, since="2999-01-01T00:00:00Z") == []
    assert len(found(client, since="2000-01-01T00:00:00+05:00")) == 2


def test_pages_join_to_the_whole(client: TestClient) -> None:
    for number in range(0, 8, 4):
        assert add(client, *(plain(number + place) for place in range(4)))[0] == 200
    seen, cursor = [], "0"
    while cursor is not None:
        page = client.get("/v1/annotations", params={"limit": 3, "cursor": cursor}).json()
        seen += [item["event"] for item in page["annotations"]]
        cursor = page["next_cursor"]
    assert seen == list(range(1, 9))


def test_every_fault_is_reported_with_its_index_and_nothing_is_added(client: TestClient) -> None:
    bad = [draft(1), draft(2, labels=["nothing"]), {"text": 3}, draft(4, text="x" * 301)]
    status, error = add(client, *bad)
    assert (status, error["kind"]) == (422, "invalid_request")
    places = {(fault["index"], fault["field"]) for fault in error["details"]}
    assert places == {
        (1, "labels"),
        (1, "evidence"),
        (2, "text"),
        (2, "labels"),
        (2, "annotator"),
        (3, "text"),
    }
    assert error["message"].endswith("Nothing was added.")
    assert found(client) == []
    status, error = add(client, *(plain(number) for number in range(5)))
    assert (status, error["message"]) == (
        422,
        "annotations: found 5 annotations; at most 4 annotations a request.",
    )
    assert add(client)[0] == 422
    halves = json.dumps({"annotations": [draft(1, labels=["\ud800"], evidence={"\ud800": "x"})]})
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/annotations", content=halves, headers=headers)
    assert answer.status_code == 422
    assert {fault["index"] for fault in answer.json()["error"]["details"]} == {0}


def test_an_idempotency_key_makes_a_request_count_once(client: TestClient) -> None:
    first = add(client, plain(1), **{"Idempotency-Key": "form-1"})
    assert add(client, plain(1), **{"Idempotency-Key": "form-1"}) == first
    status, error = add(client, plain(2), **{"Idempotency-Key": "form-1"})
    assert (status, error["details"][0]["field"]) == (422, "Idempotency-Key")
    assert add(client, plain(2), **{"Idempotency-Key": "a b"})[0] == 422
    assert found(client) == [plain(1)["text"]]


def test_conflicts_are_listed_with_both_sides(client: TestClient) -> None:
    assert add(client, draft(1), draft(2))[1]["conflicts"] == []
    seed = plain(0, text="Both sides agreed to deepen cooperation.")
    _, body = add(client, plain(1, "bea"), draft(2, "bea"), seed)
    [conflict] = body["conflicts"]
    assert conflict["index"] == 0
    assert [(claim["by"], claim["labels"]) for claim in conflict["claims"]] == [
        ("ada", ["economic_cooperation"]),
        ("bea", []),
    ]
    assert found(client, conflicts=True) == [draft(1)["text"]] * 2
    page = client.get("/v1/annotations", params={"conflicts": True, "annotator": "ada"}).json()
    [row] = page["annotations"]
    assert [claim["by"] for claim in row["conflicts"]] == ["bea"]


def test_a_seed_that_is_labelled_otherwise_is_a_conflict(client: TestClient) -> None:
    from diplophrase.annotations import read_annotations

    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    seed = next(note for note in notes if note.labels and len(note.text) < 300)
    _, body = add(client, plain(0, text=seed.text))
    [conflict] = body["conflicts"]
    assert conflict["claims"][0] == {
        "by": "seeds.jsonl",
        "id": seed.id,
        "labels": sorted(seed.labels),
    }


def test_labels_are_taken_back_all_or_none(client: TestClient) -> None:
    ids = [row["id"] for row in add(client, plain(1), plain(2))[1]["annotations"]]
    refused = client.post("/v1/annotations/retract", json={"ids": [ids[0], "nothing"]})
    assert refused.status_code == 422
    assert refused.json()["error"]["details"][0]["index"] == 1
    assert len(found(client)) == 2
    answer = client.post("/v1/annotations/retract", json={"ids": [ids[0]]})
    assert answer.json() == {"annotations": [{"id": ids[0], "state": "retracted", "event": 3}]}
    assert found(client) == [plain(2)["text"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/annotations", {"annotations": [plain(1)]}),
        ("/v1/annotations/retract", {"ids": ["x"]}),
        ("/v1/review", {"texts": ["Peace."]}),
    ],
)
def test_writing_needs_a_key(client: TestClient, path: str, body: Any) -> None:
    del client.headers["Authorization"]
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (401, "unauthorized")
    assert found(client) == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "cursor=x",
        "cursor=-1",
        "since=yesterday",
        "since=0",
        "conflicts=1",
        "contains=%00",
        "label=",
    ],
)
def test_bad_queries_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/v1/annotations?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"].endswith(query.partition("=")[0])


def test_a_time_outside_the_calendar_is_refused(client: TestClient) -> None:
    answer = client.get("/v1/annotations", params={"since": "0001-01-01T00:00:00+23:00"})
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (422, "since")


def test_the_queue_gives_what_is_worth_a_look_until_it_is_answered(client: TestClient) -> None:
    queued = client.post("/v1/review", json={"texts": TEXTS}).json()
    assert queued == {"queued": 4, "waiting": 4}
    assert client.post("/v1/review", json={"texts": TEXTS[:1]}).json() == {
        "queued": 0,
        "waiting": 4,
    }
    first = client.get("/v1/review", params={"n": 3}).json()
    assert client.get("/v1/review", params={"n": 3}).json() == first
    assert (first["waiting"], len(first["suggestions"])) == (4, 3)
    for item in first["suggestions"]:
        weighed = sum(first["mix"][name] * share for name, share in item["reasons"].items())
        assert item["value"] == pytest.approx(weighed, abs=1e-3)
        assert item["hand"] is None
    chosen = first["suggestions"][0]["text"]
    assert add(client, plain(0, text=chosen))[0] == 200
    second = client.get("/v1/review", params={"n": 100}).json()
    assert second["waiting"] == 3
    assert chosen not in {item["text"] for item in second["suggestions"]}
    client.post("/v1/review", json={"texts": [chosen]})  # for another look
    third = client.get("/v1/review", params={"n": 100}).json()
    [again] = [item for item in third["suggestions"] if item["text"] == chosen]
    assert again["hand"]["by"] == "ada"


def test_bad_texts_do_not_join_the_queue(client: TestClient) -> None:
    answer = client.post("/v1/review", json={"texts": ["Peace.", " ", "x" * 301]})
    assert answer.status_code == 422
    assert [fault["index"] for fault in answer.json()["error"]["details"]] == [1, 2]
    assert client.get("/v1/review").json()["waiting"] == 0


def test_a_new_model_looks_again_at_what_waits(client: TestClient, database_url: str) -> None:
    from serving.store.queue import ReviewQueue

    client.post("/v1/review", json={"texts": TEXTS[:2]})
    store = open_store(database_url)
    queue = ReviewQueue(store.database)
    from dataclasses import replace

    queue.refresh([replace(view, model_version="older") for view in queue.waiting()])
    answer = client.get("/v1/review").json()
    assert len(answer["suggestions"]) == 2
    assert {view.model_version for view in queue.waiting()} == {answer["model_version"]}
    store.database.close()


def test_a_database_that_is_down_stops_no_classification(tmp_path: Path) -> None:
    make_labels(tmp_path / "labels")
    database = f"sqlite:///{tmp_path / 'later' / 'store.db'}"
    with serving(tmp_path, database=database) as client:
        status, error = add(client, plain(1))
        assert (status, error["kind"]) == (503, "database")
        assert str(tmp_path) not in error["message"]
        assert client.get("/v1/review").status_code == 503
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/classify", json={"texts": [SEED]}).status_code == 200
        (tmp_path / "later").mkdir()
        assert add(client, plain(1))[0] == 200  # as soon as it is there


def test_without_a_codebook_no_label_is_taken_in(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with serving(tmp_path) as client:
        status, error = add(client, plain(1))
        assert (status, error["kind"]) == (503, "not_ready")
        assert found(client) == []


class Through(httpx.BaseTransport):
    """Takes the client's requests to the service in this process; may lose the first answer."""

    def __init__(self, service: TestClient, *, lost: int = 0) -> None:
        self.service, self.lost = service, lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.service.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("the answer was lost", request=request)
        return httpx.Response(
            answer.status_code, content=answer.content, headers=dict(answer.headers)
        )


class AsyncThrough(httpx.AsyncBaseTransport):
    def __init__(self, service: TestClient) -> None:
        self.through = Through(service)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await asyncio.to_thread(self.through.handle_request, request)


def key_of(client: TestClient) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


def test_the_client_adds_finds_queues_and_takes_back(client: TestClient) -> None:
    transport = Through(client, lost=1)
    with Client(
        "http://testserver", api_key=key_of(client), transport=transport, sleep=lambda _: None
    ) as ours:
        added = ours.add_annotations([draft(1), plain(2)])  # sent twice, as an answer was lost
        assert [receipt.event for receipt in added.receipts] == [1, 2]
        assert ours.add_annotations([plain(1, "bea")]).conflicts[0][0].by == "ada"
        page = ours.annotations(
            label="economic_cooperation", since=datetime(2020, 1, 1, tzinfo=UTC)
        )
        assert [item.annotation.text for item in page.annotations] == [draft(1)["text"]]
        assert [claim.by for claim in page.annotations[0].conflicts] == ["bea"]
        assert ours.annotations(limit=1).next_cursor == "1"
        assert ours.queue_texts(TEXTS[:2]).waiting == 2
        review = ours.review(1)
        assert (review.waiting, len(review.suggestions)) == (2, 1)
        assert review.suggestions[0].text in TEXTS
        [receipt] = ours.retract_annotations([added.receipts[0].id])
        assert (receipt.state, receipt.event) == ("retracted", 4)
        with pytest.raises(ServiceError, match="labels") as raised:
            ours.add_annotations([plain(5), draft(6, labels=["nothing"])])
        assert {detail.index for detail in raised.value.details} == {1}
        with pytest.raises(InvalidRequest, match="found none"):
            ours.add_annotations([])
        with pytest.raises(InvalidRequest, match="must have a time zone"):
            ours.annotations(since=datetime(2020, 1, 1))


def test_the_async_client_does_the_same(client: TestClient) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(
            "http://testserver", api_key=key_of(client), transport=AsyncThrough(client)
        ) as ours:
            added = await ours.add_annotations([draft(1)])
            page = await ours.annotations(contains="ports")
            queued = await ours.queue_texts(TEXTS[:1])
            review = await ours.review()
            gone = await ours.retract_annotations([added.receipts[0].id])
            return [len(page.annotations), queued.queued, len(review.suggestions), gone[0].state]

    assert asyncio.run(ask()) == [1, 1, 1, "retracted"]


def test_what_is_added_over_http_is_in_the_store(client: TestClient, database_url: str) -> None:
    add(client, plain(1))
    store = open_store(database_url)
    assert texts_of(store) == [plain(1)["text"]]
    store.database.close()


def test_the_events_of_a_text_are_told_page_by_page(client: TestClient) -> None:
    for annotator in ("ada", "bea", "cyd"):
        assert add(client, draft(1, annotator))[0] == 200
    add(client, draft(2))
    query = {"text": draft(1)["text"], "limit": 2}
    first = client.get("/v1/annotations/events", params=query).json()
    assert [row["annotator"] for row in first["events"]] == ["ada", "bea"]
    assert (first["events"][0]["kind"], first["events"][0]["labels"]) == (
        "label",
        ["economic_cooperation"],
    )
    assert first["events"][0]["key_id"]
    query["cursor"] = first["next_cursor"]
    second = client.get("/v1/annotations/events", params=query).json()
    assert [row["annotator"] for row in second["events"]] == ["cyd"]
    assert second["next_cursor"] is None
    for text in ("", "a\0b"):
        answer = client.get("/v1/annotations/events", params={"text": text})
        assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (
            422,
            "query.text",
        )
