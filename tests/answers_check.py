"""The check that every answer of the service must pass: it is what /openapi.json says.

Not a test.
"""

import json
from functools import cache
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from instantly.json_text import parse_json
from instantly.web.openapi import JSON, build_document, openapi_path


class CheckedClient(FlaskClient):
    """A test client that checks every answer."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        answer = super().open(*args, **kwargs)
        problem = difference(self.application, answer)
        assert not problem, problem
        return answer


@cache
def document_of(app: Flask) -> dict[str, Any]:
    """As it arrives at a caller."""
    return json.loads(json.dumps(build_document(app)))


def difference(app: Flask, answer: TestResponse) -> str | None:
    """What an answer has that its documentation has not, or the other way round."""
    method, path = answer.request.method, answer.request.path
    told = f"{method} {path} → {answer.status}"
    try:
        rule, _ = app.url_map.bind_to_environ(answer.request.environ).match(return_rule=True)
    except HTTPException:
        where = None
    else:
        where = (openapi_path(rule), "get" if method == "HEAD" else method.lower())
        if where[0] not in document_of(app)["paths"]:
            return None  # a file of the page, not of the API
    check = content_checks(app, where).get(str(answer.status_code))
    if check is None:
        return f"{told} is not documented"
    if answer.mimetype not in check:
        return f"{told} is {answer.mimetype}"
    if method == "HEAD" or answer.mimetype != JSON:
        return None
    errors = check[JSON].iter_errors(parse_json(answer.data, any_number=True))
    problems = [f"{error.json_path}: {error.message[:300]}" for error in errors]
    return f"{told}: {'; '.join(problems)}" if problems else None


@cache
def content_checks(
    app: Flask, where: tuple[str, str] | None
) -> dict[str, dict[str, Draft202012Validator]]:
    """Status → media type → the check of a body, of one operation; None is where there is none."""
    document = document_of(app)
    if where is None:
        error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
        contents = dict.fromkeys(("401", "404", "405"), error)
    else:
        path, method = where
        responses = document["paths"][path][method]["responses"]
        contents = {status: response["content"] for status, response in responses.items()}
    return {
        status: {
            media_type: Draft202012Validator(
                {**media.get("schema", {}), "components": document["components"]},
                format_checker=FormatChecker(),
            )
            for media_type, media in content.items()
        }
        for status, content in contents.items()
    }
