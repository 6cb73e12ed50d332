"""Stand-ins for our own key-service and runs-service: what the service may rely on, no more."""

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID, uuid4

from flask import Flask, Response, abort, jsonify, make_response, request

CALLER_HEADERS = ("X-Caller-Service", "X-Caller-Method", "X-Caller-Path")
COST_NAMES = frozenset({"instantly-campaign-create", "instantly-lead-add"})
REQUIRED_RUN_FIELDS = ("clerkOrgId", "appId", "serviceName", "taskName")
APP_ID = "instantly-service"


def refuse(status: int, message: str) -> NoReturn:
    """End the request with our services' error shape."""
    abort(make_response({"error": message}, status))


def require_key(api_key: str) -> None:
    """401 unless the caller sent this key."""
    if request.headers.get("x-api-key") != api_key:
        refuse(401, "Unauthorized")


class KeyServiceStandIn:
    """Hands out Instantly keys: one per organisation, and the app's own."""

    def __init__(
        self, api_key: str, organizations: dict[str, str], app_key: str | None = None
    ) -> None:
        self.api_key = api_key
        self.organizations = organizations
        self.app_key = app_key
        self.app = Flask(__name__)
        self.app.before_request(self._admit)
        self.app.add_url_rule("/internal/keys/instantly/decrypt", view_func=self._organization_key)
        self.app.add_url_rule("/internal/app-keys/instantly/decrypt", view_func=self._app_key)

    def _admit(self) -> None:
        require_key(self.api_key)
        for name in CALLER_HEADERS:
            if not request.headers.get(name):
                refuse(400, f"Missing header {name}")

    def _organization_key(self) -> dict[str, str]:
        return self._answer(self.organizations.get(request.args.get("clerkOrgId", "")))

    def _app_key(self) -> dict[str, str]:
        return self._answer(self.app_key if request.args.get("appId") == APP_ID else None)

    def _answer(self, key: str | None) -> dict[str, str]:
        if key is None:
            refuse(404, "Key not found")
        return {"provider": "instantly", "key": key}


class RunsServiceStandIn:
    """Keeps runs and their costs in `runs`, by id."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key
        self.known_parents: set[str] = set()
        self.runs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.app = Flask(__name__)
        self.app.before_request(lambda: require_key(self.api_key))
        for rule, method, view in (
            ("/v1/runs", "POST", self._create),
            ("/v1/runs", "GET", self._list),
            ("/v1/runs/<run_id>", "PATCH", self._end),
            ("/v1/runs/<run_id>/costs", "POST", self._log_costs),
        ):
            endpoint = f"{method} {rule}".replace(".", "_")
            self.app.add_url_rule(rule, endpoint, view, methods=[method])

    def billed(self) -> dict[str, float]:
        """Cost name → total quantity over all runs."""
        total: Counter[str] = Counter()
        with self._lock:
            for run in self.runs.values():
                for cost in run["costs"]:
                    total[cost["costName"]] += cost["quantity"]
        return dict(total)

    def open_runs(self) -> list[dict[str, Any]]:
        """The runs that were neither completed nor failed."""
        with self._lock:
            return [run for run in self.runs.values() if run["status"] == "running"]

    def _create(self) -> tuple[dict[str, Any], int]:
        body = self._body()
        for name in REQUIRED_RUN_FIELDS:
            if not isinstance(body.get(name), str) or not body[name]:
                refuse(400, f"{name} is required")
        parent = body.get("parentRunId")
        with self._lock:
            if parent is not None and not self._is_known(parent):
                refuse(400, "Parent run does not exist")
            run = {
                **body,
                "id": str(uuid4()),
                "status": "running",
                "startedAt": datetime.now(UTC).isoformat(),
                "costs": [],
            }
            self.runs[run["id"]] = run
        return {name: value for name, value in run.items() if name != "costs"}, 201

    def _is_known(self, parent: object) -> bool:
        try:
            run_id = str(UUID(str(parent)))
        except ValueError:
            return False
        return run_id in self.runs or run_id in self.known_parents

    def _list(self) -> Response:
        with self._lock:
            return jsonify(runs=list(self.runs.values()))

    def _end(self, run_id: str) -> dict[str, Any]:
        body = self._body()
        if body.get("status") not in ("completed", "failed"):
            refuse(400, "status must be completed or failed")
        run = self._run(run_id)
        with self._lock:
            run.update(
                {name: body[name] for name in ("status", "error") if name in body},
                completedAt=datetime.now(UTC).isoformat(),
            )
        return run

    def _log_costs(self, run_id: str) -> tuple[dict[str, Any], int]:
        run = self._run(run_id)
        items = self._body().get("items")
        if not isinstance(items, list) or not items:
            refuse(400, "items is required")
        costs = [self._cost(item) for item in items]
        with self._lock:
            run["costs"].extend(costs)
        return {"costs": costs}, 201

    def _cost(self, item: object) -> dict[str, Any]:
        if not isinstance(item, dict):
            refuse(400, "an item must be an object")
        quantity = item.get("quantity")
        if isinstance(quantity, bool) or not isinstance(quantity, int | float) or quantity <= 0:
            refuse(400, "quantity must be a number above 0")
        if item.get("costName") not in COST_NAMES:
            refuse(422, f"Unknown cost name: {item.get('costName')}")
        return {"costName": item["costName"], "quantity": quantity}

    def _run(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            refuse(404, "Run not found")
        return self.runs[run_id]

    def _body(self) -> dict[str, Any]:
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            refuse(400, "Invalid JSON")
        return body
