"""A stand-in for Instantly's API V2 that behaves as production does, kept in memory."""

import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from instantly.sandbox.accounts import Accounts
from instantly.sandbox.campaigns import Campaigns
from instantly.sandbox.leads import Leads
from instantly.sandbox.operations import Operation, find_operation
from instantly.sandbox.player import Player
from instantly.sandbox.state import Call, Json, Refusal, Workspace
from instantly.sandbox.validation import parse_body, parse_query, refusals
from instantly.sandbox.webhooks import Webhooks

REASONS = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
EDGE_REFUSAL = "<html><head><title>403 Forbidden</title></head><body>403 Forbidden</body></html>"
# The CDN before Instantly answers 403 to these [Instantly's starter kit, seen in production].
LIBRARY_AGENTS = ("python-requests", "python-urllib", "python/", "urllib3", "python-httpx")
# After these there may be something to play.
STARTS_PLAYING = ("activate_campaign", "add_leads")


def is_refused_agent(user_agent: str) -> bool:
    """Whether the edge before Instantly refuses this User-Agent."""
    return not user_agent or user_agent.lower().startswith(LIBRARY_AGENTS)


def is_empty_json(content_type: str, body: bytes) -> bool:
    """A JSON content type without a body, which Instantly answers with 400 [several live users]."""
    return content_type.lower().startswith("application/json") and not body


class InstantlyStandIn(Campaigns, Leads, Accounts, Webhooks):
    """Instantly as the service sees it; `app` is the Flask app to serve.

    `organizations` holds the accepted API keys and the workspace that each of them opens. The
    method with the name of an operation (see `data/`) plays that operation.
    """

    def __init__(self, organizations: dict[str, str], *, plays: bool = True) -> None:
        self.workspaces = {name: Workspace() for name in organizations.values()}
        self._keys = organizations
        self.plays = plays
        self.player = Player(self.deliver)
        self.app = Flask(__name__)
        self.app.add_url_rule(
            "/<path:path>", view_func=self._answer, methods=["GET", "POST", "PATCH", "DELETE"]
        )

    def workspace(self, name: str) -> Workspace:
        return self.workspaces[name]

    def add_webhook(
        self,
        workspace_name: str,
        target_hook_url: str,
        event_type: str = "all_events",
        **more: Any,
    ) -> Json:
        """Subscribe a URL in a workspace, as POST /webhooks does."""
        fields = {"target_hook_url": target_hook_url, "event_type": event_type, **more}
        return self.create_webhook(self.workspaces[workspace_name], Call("", {}, fields))

    def _answer(self, path: str) -> Response:
        if is_refused_agent(request.headers.get("User-Agent", "")):
            return Response(EDGE_REFUSAL, 403, content_type="text/html")
        try:
            answer = self._play(self._admit(), find_operation(request.method, request.path))
        except Refusal as refusal:
            error = {
                "statusCode": refusal.status,
                "error": REASONS[refusal.status],
                "message": refusal.message,
            }
            return Response(json.dumps(error), refusal.status, content_type="application/json")
        return Response(answer, content_type="application/json; charset=utf-8")

    def _admit(self) -> Workspace:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if not key:
            raise Refusal(401, "Missing Authorization header")
        if scheme != "Bearer" or key not in self._keys:
            raise Refusal(401, "Invalid API key")
        return self.workspaces[self._keys[key]]

    def _play(self, workspace: Workspace, operation: Operation | None) -> str:
        if operation is None:
            raise Refusal(404, f"Route {request.method}:{request.path} not found")
        call = read_call(operation)
        act: Callable[[Workspace, Call], object] = getattr(self, operation.name)
        with workspace.lock:
            answer = json.dumps(act(workspace, call))
        if self.plays and operation.name in STARTS_PLAYING:
            self.player.start(workspace, call.parameter or call.body["campaign_id"])
        return answer


def read_call(operation: Operation) -> Call:
    """The request as the operation takes it; what Instantly refuses is a Refusal."""
    raw = request.get_data()
    if is_empty_json(request.content_type or "", raw):
        raise Refusal(400, "Body cannot be empty when content-type is set to 'application/json'")
    try:
        body = parse_body(raw)
    except ValueError:
        raise Refusal(400, "Body is not valid JSON") from None
    parameter = operation.parameter(request.path) or ""
    query = parse_query(operation, request.args.to_dict(flat=False))
    refused = refusals(operation, parameter, query, body)
    if refused:
        raise Refusal(400, ", ".join(refused))
    return Call(parameter, query, body)
