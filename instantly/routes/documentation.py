"""GET /openapi.json and GET /docs: the API, for machines and for people."""

from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from typing import Any

from flask import Blueprint, Response, current_app, send_file

from instantly.schemas.answers import DOCUMENT
from instantly.web.openapi import build_document, documented

OURS, SWAGGER_UI = files("instantly") / "web" / "docs", files("flask_swagger_ui") / "dist"
PAGE = (OURS / "index.html").read_bytes()
FILES = {
    "start.js": (OURS / "start.js").read_bytes(),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.css").read_bytes(),
    "swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js").read_bytes(),
}
ETAGS = {name: sha256(content).hexdigest() for name, content in FILES.items()}
# A caller types a key into the page: it may call nobody but us, and run nothing but our files.
POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

bp = Blueprint("documentation", __name__)


@bp.after_request
def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response


@bp.get("/openapi.json")
@documented(answers={200: DOCUMENT})
def get_document() -> dict[str, Any]:
    """The OpenAPI document of this API."""
    return build_document(current_app._get_current_object())  # type: ignore[attr-defined]


@bp.get("/docs")
@documented(answers={200: "text/html"})
def get_docs() -> Response:
    """The same as a page to read, and to try each route; it loads nothing from elsewhere."""
    return Response(PAGE, mimetype="text/html")


def get_file(name: str) -> Response:
    """A file that the page loads: Swagger UI's, or the one that starts it."""
    return send_file(BytesIO(FILES[name]), download_name=name, etag=ETAGS[name])


for name in FILES:
    bp.add_url_rule(f"/docs/{name}", view_func=get_file, defaults={"name": name})
