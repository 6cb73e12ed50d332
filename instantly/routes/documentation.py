"""GET /openapi.json and GET /docs: the API, for machines and for people."""

from functools import lru_cache
from typing import Any

from flask import Blueprint, Flask, current_app, render_template

from instantly.schemas.answers import OBJECT
from instantly.web.openapi import build_document, documented

bp = Blueprint("documentation", __name__)


@lru_cache(maxsize=1)
def document_of(app: Flask) -> dict[str, Any]:
    return build_document(app)


def document() -> dict[str, Any]:
    return document_of(current_app._get_current_object())  # type: ignore[attr-defined]


@bp.get("/openapi.json")
@documented(answers={200: OBJECT})
def get_document() -> dict[str, Any]:
    """The OpenAPI document of this API."""
    return document()


@bp.get("/docs")
@documented(answers={200: "text/html"})
def get_docs() -> str:
    """The same as a page to read; it loads nothing from elsewhere."""
    return render_template("docs.html", document=document())
