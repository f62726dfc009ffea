"""The bounds of the settings in `/openapi.json`, where clients and test tools look for them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from diplophrase.settings import Settings
from diplophrase.visible import VISIBLE


def document_bounds(app: FastAPI, settings: Settings) -> None:
    """Say in the interface's description how long a text and a request may be."""
    describe = app.openapi

    def with_bounds() -> dict[str, Any]:
        document = describe()
        schemas = document["components"]["schemas"]
        visible = {"minLength": 1, "pattern": VISIBLE}
        text = visible | {"maxLength": settings.max_characters}
        for request in ("ClassifyRequest", "ReviewRequest"):
            texts = schemas[request]["properties"]["texts"]
            texts["maxItems"] = settings.max_texts
            texts["items"] |= text
        schemas["AnnotationsRequest"]["properties"]["annotations"]["maxItems"] = settings.max_texts
        schemas["Draft"]["properties"]["text"] |= text
        statement = schemas["StatementRequest"]["properties"]["text"]
        statement |= visible | {"maxLength": settings.max_statement_characters}
        return document

    app.openapi = with_bounds  # type: ignore[method-assign]  # FastAPI's own way to extend it
