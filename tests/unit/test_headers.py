"""The headers of every answer, the page at /docs among them, and who may read answers."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from diplophrase.errors import SettingsError
from serving.errors import install_errors
from serving.headers import add_headers, page_policy
from serving.logs import Observe
from serving.metrics import Metrics

STRICT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SITE = "https://example.org"


def make_client(origins: tuple[str, ...] = (), *, root_path: str = "") -> TestClient:
    app: FastAPI = FastAPIOffline(redoc_url=None)
    install_errors(app)
    app.add_middleware(Observe, metrics=Metrics())
    add_headers(app, origins=origins)

    @app.get("/v1/labels")
    async def labels() -> dict[str, int]:
        return {"labels": 18}

    @app.get("/own")
    async def own() -> JSONResponse:
        own = {"Cache-Control": "max-age=60", "Content-Security-Policy": "default-src 'self'"}
        return JSONResponse({}, headers=own)

    @app.get("/fails")
    async def fails() -> None:
        raise ValueError("no")

    return TestClient(app, root_path=root_path)


def of(client: TestClient, path: str, **sent: str) -> dict[str, str]:
    headers = {name.replace("_", "-"): text for name, text in sent.items()}
    return dict(client.get(path, headers=headers).headers)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/labels", 200), ("/absent", 404), ("/fails", 500)]
)
def test_answers_good_and_bad_have_them_all(path: str, status: int) -> None:
    answer = make_client().get(path)
    assert answer.status_code == status
    names = (
        "x-content-type-options",
        "referrer-policy",
        "x-frame-options",
        "content-security-policy",
        "cache-control",
    )
    assert [answer.headers.get_list(name) for name in names] == [
        ["nosniff"],
        ["no-referrer"],
        ["DENY"],
        [STRICT],
        ["no-store"],
    ]


def test_an_answer_keeps_what_it_sets_itself() -> None:
    headers = of(make_client(), "/own")
    assert headers["cache-control"] == "max-age=60"
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("root_path", ["", "/under"])
def test_the_page_may_run_its_own_script_and_no_other(root_path: str) -> None:
    answer = make_client(root_path=root_path).get(f"{root_path}/docs")
    [script] = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert "SwaggerUIBundle(" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"{STRICT}; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data:; connect-src 'self'"
    )
    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(loaded) == 3
    assert all(url.startswith(f"{root_path}/static-offline-docs/") for url in loaded)


def test_only_the_files_of_the_page_may_be_kept_by_a_cache() -> None:
    client = make_client()
    assert "cache-control" not in of(client, "/static-offline-docs/swagger-ui.css")
    assert of(client, "/static-offline-docs/absent.css")["cache-control"] == "no-store"
    assert of(client, "/docs")["cache-control"] == "no-store"
    assert of(client, "/openapi.json")["cache-control"] == "no-store"


def test_a_policy_names_each_inline_script_by_its_hash() -> None:
    page = b"<script src='/a.js'></script><script>let a = 1\n</script><script></script>"
    scripts = page_policy(page).split("; ")[4]
    # printf 'let a = 1\n' | openssl dgst -sha256 -binary | base64, then the same of nothing
    assert scripts == (
        "script-src 'self' 'sha256-1kR9b2MdF6r4sNsK3xRwZG6ZGjryLG+Pf2BB3kK20hM=' "
        "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    )


def test_other_sites_may_read_nothing_by_default() -> None:
    client = make_client()
    assert "access-control-allow-origin" not in of(client, "/v1/labels", origin=SITE)
    asked = {"origin": SITE, "access-control-request-method": "POST"}
    assert client.options("/v1/labels", headers=asked).status_code == 405


def test_a_configured_site_may_read_answers_failures_and_the_id() -> None:
    client = make_client((SITE,))
    for path in ("/v1/labels", "/fails"):
        headers = of(client, path, origin=SITE)
        assert headers["access-control-allow-origin"] == SITE
        assert headers["access-control-expose-headers"] == "Retry-After, X-Request-ID"
        assert len(headers["x-request-id"]) == 32
    assert "access-control-allow-origin" not in of(client, "/v1/labels", origin="https://b.org")


@pytest.mark.parametrize(("origin", "status"), [(SITE, 200), ("https://b.org", 400)])
def test_a_browser_may_ask_before_it_sends(origin: str, status: int) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-request-id",
    }
    answer = make_client((SITE,)).options("/v1/labels", headers=asked)
    assert answer.status_code == status
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (SITE if status == 200 else None)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_all_sites_may_be_let_in() -> None:
    assert of(make_client(("*",)), "/v1/labels", origin=SITE)["access-control-allow-origin"] == "*"


def test_origins_that_no_browser_sends_are_refused_by_name() -> None:
    message = (
        r"cors_origins: found 'https://example.org/', 'example.org', 'null'; an origin is a scheme"
    )
    bad = ("https://example.org/", SITE, "example.org", "null", "http://localhost:3000")
    with pytest.raises(SettingsError, match=message):
        add_headers(FastAPI(), origins=bad)
