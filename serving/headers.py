"""Headers that tell browsers what an answer may do, and which other sites may read it.

To wire it in, after every other `add_middleware`: `add_headers(app, origins=[])`. Without
origins no other site's pages may read an answer. An answer that sets one of these headers
itself keeps its own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diplophrase.errors import SettingsError

DOCS = "/docs"
STATIC = "/static-offline-docs/"

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
_DAY_S = 86_400


def add_headers(app: FastAPI, *, origins: Sequence[str] = ()) -> None:
    """Add security headers to every answer, and let pages of `origins` read the answers.

    An origin is a scheme, a host and, where it is not the usual one, a port, such as
    `https://example.org`; `*` stands for all.

    Raises:
        SettingsError: naming every origin that no browser would send.
    """
    if bad := [origin for origin in origins if origin != "*" and not _ORIGIN.fullmatch(origin)]:
        raise SettingsError(
            f"cors_origins: found {', '.join(map(repr, bad))}; an origin is a scheme and a host in "
            f"small letters, without a path or a slash at its end, such as https://example.org."
        )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
            max_age=_DAY_S,
        )
    app.add_middleware(SecurityHeaders)


def page_policy(page: bytes) -> str:
    """Return the policy under which `page` may run its own inline scripts and this site's files.

    The scripts are named by hash (Content Security Policy Level 3, 2.3.1), so a script put in
    later on does not run. Styles may stand inline, as Swagger's pictures and mark-up have them.
    """
    hashes = [b64encode(sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    scripts = " ".join(["'self'", *(f"'sha256-{value}'" for value in hashes)])
    return (
        f"{_NOTHING}; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data:; connect-src 'self'"
    )


class SecurityHeaders:
    """Adds to every answer the headers that it does not have.

    No answer is kept by a cache, but for the files of the page at `/docs`. That page alone may
    run scripts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        held: Message | None = None

        async def with_headers(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                if path == DOCS and message["status"] == 200:
                    held = message  # its policy follows from the page, which comes next
                    return
                add_missing(message, path, _NOTHING)
            elif held is not None:
                add_missing(held, path, page_policy(message.get("body", b"")))
                await send(held)
                held = None
            await send(message)

        await self.app(scope, receive, with_headers)


def add_missing(start: Message, path: str, policy: str) -> None:
    """Complete the headers of the message that begins the answer to `path`."""
    start.setdefault("headers", [])
    headers = MutableHeaders(scope=start)
    for name, value in _EVERYWHERE.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", policy)
    if start["status"] >= 400 or not path.startswith(STATIC):
        headers.setdefault("Cache-Control", "no-store")
