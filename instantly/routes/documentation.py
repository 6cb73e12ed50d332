"""GET /openapi.json and GET /docs: the API, for machines and for people."""

import hashlib
import json
from base64 import b64encode
from functools import lru_cache
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template
from markupsafe import Markup

from instantly.schemas.answers import DOCUMENT
from instantly.web.openapi import build_document, documented

bp = Blueprint("documentation", __name__)


@lru_cache(maxsize=1)
def document_of(app: Flask) -> dict[str, Any]:
    return build_document(app)


def document() -> dict[str, Any]:
    return document_of(current_app._get_current_object())  # type: ignore[attr-defined]


@bp.get("/openapi.json")
@documented(answers={200: DOCUMENT})
def get_document() -> dict[str, Any]:
    """The OpenAPI document of this API."""
    return document()


@bp.get("/docs")
@documented(answers={200: "text/html"})
def get_docs() -> Response:
    """The same as a page to read, and to try each route; it loads nothing from elsewhere."""
    page, policy = page_of(current_app._get_current_object())  # type: ignore[attr-defined]
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response


@lru_cache(maxsize=1)
def page_of(app: Flask) -> tuple[str, str]:
    """The page, and the policy that lets it do what it does and nothing else.

    A caller types a key into it: it may call nobody but us, and run nothing but its own script.
    """
    style, script = (app.jinja_env.get_template(f"docs.{kind}").render() for kind in ("css", "js"))
    page = render_template(
        "docs.html",
        document=document_of(app),
        dumps=json.dumps,
        style=Markup(style),  # noqa: S704  (our own files)
        script=Markup(script),  # noqa: S704
    )
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src {source_of(script)};"
        f" style-src {source_of(style)}; require-trusted-types-for 'script';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def source_of(text: str) -> str:
    """How a policy names an inline script or style."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
