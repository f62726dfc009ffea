"""What the service answers, good requests and bad."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

REAFFIRMED = (
    "Dominica reiterated its adherence to the one-China principle and supports China's "
    "reunification."
)
LONG_AGO = "Vietnam's long struggle for national reunification ended in 1975."
CLOUD = "The two companies formed a strategic partnership on cloud storage."
LIFTED = "Both sides agreed to lift relations to a comprehensive strategic partnership."


def classify(client: TestClient, *texts: str, **options: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/classify", json={"texts": list(texts), **options})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def label(result: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((hit for hit in result["labels"] if hit["id"] == name), None)


def test_one_china_is_found_with_its_formulas(client: TestClient) -> None:
    [result] = classify(client, REAFFIRMED)
    hit = label(result, "taiwan_one_china")
    assert hit is not None
    assert hit["taiwan_formula"] == ["principle", "reunification"]
    span = hit["evidence"]
    assert REAFFIRMED[span["start"] : span["end"]] == span["text"]


def test_look_alikes_do_not_fire(client: TestClient) -> None:
    long_ago, cloud = classify(client, LONG_AGO, CLOUD)
    assert label(long_ago, "taiwan_one_china") is None
    assert label(cloud, "partnership_tier") is None


def test_a_grade_comes_in_canonical_form(client: TestClient) -> None:
    [result] = classify(client, LIFTED)
    hit = label(result, "partnership_tier")
    assert hit is not None
    assert hit["tier"] == "comprehensive strategic partnership"


def test_results_keep_the_order_of_the_texts(client: TestClient) -> None:
    together = classify(client, LIFTED, LONG_AGO, REAFFIRMED)
    singly = [classify(client, text)[0] for text in (LIFTED, LONG_AGO, REAFFIRMED)]
    names = [[hit["id"] for hit in result["labels"]] for result in together]
    assert names == [[hit["id"] for hit in result["labels"]] for result in singly]


def test_scores_of_all_labels_come_when_asked(client: TestClient) -> None:
    known = [row["id"] for row in client.get("/v1/labels").json()["labels"]]
    [result] = classify(client, LIFTED, scores=True, evidence=False)
    assert list(result["scores"]) == known
    assert len(known) == 18
    assert all(0 <= score <= 1 for score in result["scores"].values())
    assert all("evidence" not in hit for hit in result["labels"])


def test_every_label_given_is_at_or_over_its_threshold(client: TestClient) -> None:
    rows = client.get("/v1/labels").json()["labels"]
    thresholds = {row["id"]: row["threshold"] for row in rows}
    [result] = classify(client, REAFFIRMED, scores=True)
    given = {hit["id"] for hit in result["labels"]}
    over = {name for name, score in result["scores"].items() if score >= thresholds[name]}
    assert given == over


def test_a_higher_precision_gives_fewer_labels_with_higher_scores(client: TestClient) -> None:
    text = "They spoke of trade, visas, the region's security and an old friendship."
    given = {}
    for precision in (None, 0.6, 0.95):
        [result] = classify(client, text, **({"precision": precision} if precision else {}))
        given[precision] = {hit["id"]: hit["score"] for hit in result["labels"]}
    assert set(given[0.95]) <= set(given[0.6])
    assert all(score > 0.5 for score in given[0.95].values())
    [scored] = classify(client, text, scores=True, precision=0.95)
    left_out = set(scored["scores"]) - set(given[0.95])
    assert all(scored["scores"][name] < 0.96 for name in left_out)


@pytest.mark.parametrize("path", ["classify", "statements"])
@pytest.mark.parametrize(
    ("precision", "status"), [(0.9, 200), (0.99, 422), (0, 422), (1, 422), ("high", 422)]
)
def test_a_precision_that_the_model_does_not_have_is_refused(
    client: TestClient, path: str, precision: Any, status: int
) -> None:
    body = {"texts": [LIFTED]} if path == "classify" else {"text": LIFTED}
    answer = client.post(f"/v1/{path}", json={**body, "precision": precision})
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["error"]["details"][0]["field"] == "precision"


@pytest.mark.parametrize(
    "text",
    [
        "Melt the butter, fold in the flour and bake for twenty minutes until golden.",
        "for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }",
        "asdkjh qwpeoi zxmnb lkjasd qpwoei",
        "两国元首一致同意深化全面战略协作伙伴关系。",
        "Die Lieferung kam zu spät und der Karton war beschädigt.",
    ],
)
def test_a_text_unlike_any_other_is_flagged_and_gets_no_label(
    client: TestClient, text: str
) -> None:
    [result] = classify(client, text, scores=True)
    assert result["out_of_domain"] is True
    assert result["labels"] == []


def test_texts_of_the_domain_are_not_flagged(client: TestClient) -> None:
    results = classify(client, LIFTED, REAFFIRMED, "The minister left for the airport at noon.")
    assert [result["out_of_domain"] for result in results] == [False] * 3


def test_a_statement_is_split_labelled_and_summed_up(client: TestClient) -> None:
    text = f"BEIJING, May 3 — {LIFTED}\n\nThe talks lasted two hours. {REAFFIRMED}"
    answer = client.post("/v1/statements", json={"text": text, "id": "s-1"}).json()
    assert answer["id"] == "s-1"
    sentences = answer["sentences"]
    assert [row["text"] for row in sentences] == [
        f"BEIJING, May 3 — {LIFTED}",
        "The talks lasted two hours.",
        REAFFIRMED,
    ]
    assert all(text[row["start"] : row["end"]] == row["text"] for row in sentences)
    assert answer["summary"]["partnership_tier"]["sentences"] == [0]
    assert answer["summary"]["taiwan_one_china"]["count"] == 1


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["model_version"] == client.get("/v1/labels").json()["model_version"]


def test_the_interface_is_documented(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "https://" not in page  # nothing is loaded from elsewhere
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/classify", "/v1/statements", "/v1/labels", "/healthz", "/readyz"} <= set(paths)


def test_the_bounds_of_the_settings_are_documented(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    texts = schemas["ClassifyRequest"]["properties"]["texts"]
    assert (texts["minItems"], texts["maxItems"]) == (1, 3)
    assert (texts["items"]["minLength"], texts["items"]["maxLength"]) == (1, 300)
    assert schemas["StatementRequest"]["properties"]["text"]["maxLength"] == 1000
    assert [bool(re.search(texts["items"]["pattern"], text)) for text in ("a", "\u200b")] == [
        True,
        False,
    ]


BAD_BODIES: list[tuple[str, str | bytes, int, str, str]] = [
    (
        "/v1/classify",
        b'{"texts": [',
        400,
        "invalid_json",
        "The body is not JSON (at character 11: Expecting value). Send a JSON object.",
    ),
    (
        "/v1/classify",
        "[]",
        422,
        "invalid_request",
        "The request cannot be read: body: must be a JSON object.",
    ),
    (
        "/v1/classify",
        "{}",
        422,
        "invalid_request",
        "The request cannot be read: texts: this field is required.",
    ),
    (
        "/v1/classify",
        '{"texts": "one"}',
        422,
        "invalid_request",
        "The request cannot be read: texts: must be a list.",
    ),
    (
        "/v1/classify",
        '{"texts": ["one", 2]}',
        422,
        "invalid_request",
        "The request cannot be read: texts[1]: must be a string.",
    ),
    (
        "/v1/classify",
        '{"texts": ["one"], "evidence": "yes"}',
        422,
        "invalid_request",
        "The request cannot be read: evidence: must be true or false.",
    ),
    (
        "/v1/classify",
        '{"texts": ["one"], "colour": 1, "size": 2}',
        422,
        "invalid_request",
        "The request cannot be read: colour: this field is not known; see /docs for those there "
        "are; size: this field is not known; see /docs for those there are.",
    ),
    (
        "/v1/classify",
        '{"texts": []}',
        422,
        "invalid_request",
        "The request cannot be read: texts: must hold 1 item or more.",
    ),
    (
        "/v1/classify",
        '{"texts": ["one", " \\n", ""]}',
        422,
        "invalid_request",
        "texts[1]: found 2 blank characters; a text has a visible character, "
        "and 1 more faults (see details).",
    ),
    (
        "/v1/classify",
        '{"texts": ["' + "x" * 301 + '"]}',
        422,
        "invalid_request",
        "texts[0]: found 301 characters; at most 300 characters a text; POST /v1/statements "
        "splits longer ones.",
    ),
    (
        "/v1/classify",
        '{"texts": ["a", "b", "c", "d"]}',
        422,
        "invalid_request",
        "texts: found 4 texts; at most 3 texts a request.",
    ),
    (
        "/v1/classify",
        '{"texts": ["' + "x" * 4000 + '"]}',
        413,
        "body_too_large",
        "The body has 4015 bytes or more; 4000 are allowed. Send fewer texts at a time.",
    ),
    (
        "/v1/statements",
        '{"text": " "}',
        422,
        "invalid_request",
        "text: found 1 characters; a statement has a visible character and at most 1000 "
        "characters.",
    ),
    (
        "/v1/statements",
        '{"text": "' + "x" * 1001 + '"}',
        422,
        "invalid_request",
        "text: found 1001 characters; a statement has a visible character and at most 1000 "
        "characters.",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "kind", "message"), BAD_BODIES)
def test_bad_bodies_get_the_error_body(
    client: TestClient, path: str, body: str | bytes, status: int, kind: str, message: str
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["kind"], error["message"]) == (status, kind, message)


def test_every_bad_item_is_reported_in_one_answer(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"texts": ["", "good", "x" * 301]})
    details = answer.json()["error"]["details"]
    assert [(detail["field"], detail["index"], detail["found"]) for detail in details] == [
        ("texts", 0, "0 blank characters"),
        ("texts", 2, "301 characters"),
    ]


def test_unknown_route_and_method(client: TestClient) -> None:
    lost = client.get("/v2/classify")
    assert lost.status_code == 404
    assert lost.json()["error"] == {
        "kind": "not_found",
        "message": "GET /v2/classify is not there. See /docs for what is.",
        "details": [],
    }
    wrong = client.get("/v1/classify")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"
    assert wrong.json()["error"] == {
        "kind": "method_not_allowed",
        "message": "GET /v1/classify is not allowed; use POST. See /docs.",
        "details": [],
    }
    assert client.put("/v1/jobs").headers["allow"] == "GET, POST"


def test_a_fault_inside_shows_no_exception_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = client.app.state.engine  # type: ignore[attr-defined]
    monkeypatch.setattr(engine.classifier, "decide", lambda *_, **__: 1 / 0)
    answer = client.post("/v1/classify", json={"texts": ["one"]})
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "internal"
    assert "division" not in answer.text
