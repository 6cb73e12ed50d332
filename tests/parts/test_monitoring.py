"""What docs/monitoring.md and the dashboard ask Prometheus for is what GET /metrics tells."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from figures import PREFIX, read
from harness import ROOT
from prometheus_client.parser import text_string_to_metric_families
from world import World, addresses

from instantly.clients.instantly import InstantlyClient
from instantly.clients.keys import KeyServiceClient
from instantly.clients.runs import RunsServiceClient
from instantly.deliveries import OUTCOMES, SOURCES

MONITORING = (ROOT / "docs" / "monitoring.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
ALERTS = re.findall(r"^ +expr: (.+)$", MONITORING, re.MULTILINE)
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

NAME = re.compile(r"\b(?:instantly_service|process)_\w+")
SELECTOR = re.compile(r"([a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
GROUPING = re.compile(r"\b(?:by|on|without|group_left|group_right)\s*\(([^)]*)\)")
# Those that Prometheus adds to everything that it scrapes.
TARGET = {"instance", "job"}
VALUES = {
    "outcome": {"ok", "refused", "rate_limited", "failed", *OUTCOMES},
    "source": set(SOURCES),
    "service": {each.service for each in (InstantlyClient, KeyServiceClient, RunsServiceClient)},
}


@pytest.fixture
def labels(world: World) -> dict[str, set[str]]:
    """The name of each series → its labels, once everything has happened."""
    world.upstreams.runs_http.fail("PATCH", "/v1/runs/.*", status=503)
    world.campaign = world.created()
    world.add(addresses(2))
    found: dict[str, set[str]] = {}
    for name, of_series in read(world.client):
        found.setdefault(name, set()).update(label for label, _ in of_series)
    return found


def selectors(query: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each metric that a query names, with its matchers."""
    for name, matchers in SELECTOR.findall(query):
        if NAME.fullmatch(name):
            yield name, MATCHER.findall(matchers)


@pytest.mark.parametrize("query", [*ALERTS, *QUERIES])
def test_a_query_asks_for_what_there_is(query: str, labels: dict[str, set[str]]) -> None:
    found = list(selectors(query))
    assert [name for name, _ in found] == NAME.findall(query) != []
    for name, matchers in found:
        assert name in labels
        for label, value in matchers:
            assert label in labels[name] | TARGET, f"{name} has no {label}"
            for each in value.split("|"):
                assert each in VALUES.get(label, {each}), f"{label} is never {each}"
    known = set.union(*(labels[name] for name, _ in found)) | TARGET
    for grouping in GROUPING.findall(query):
        assert set(re.findall(r"\w+", grouping)) <= known
    assert query.count("(") == query.count(")")


def test_the_counters_are_asked_for_their_rise_only() -> None:
    for query in (*ALERTS, *QUERIES):
        for found in re.finditer(r"\w+_(?:total|bucket|count|sum)\b(?:\{[^}]*\})?(\[)?", query):
            assert found[1] == "[", query


def test_every_metric_is_described(world: World) -> None:
    families = text_string_to_metric_families(world.client.get("/metrics").text)
    told = {
        (f"{family.name}_total" if family.type == "counter" else family.name): family.type
        for family in families
        if family.name.startswith(PREFIX)
    }
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", MONITORING, re.MULTILINE)
    assert {name: kind for name, kind, _ in rows} == told
    assert len(rows) == len(told)


def test_the_labels_are_described(labels: dict[str, set[str]]) -> None:
    for name, kind, cell in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\|", MONITORING, re.M):
        series = f"{name}_count" if kind == "histogram" else name
        assert set(re.findall(r"`(\w+)`", cell)) == labels[series], name


def test_the_alerts_are_those_that_the_text_promises() -> None:
    assert len(ALERTS) == len(re.findall(r"- alert: \w+", MONITORING)) >= 5


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["targets"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_the_dashboard_uses_no_variable_that_it_does_not_have() -> None:
    own = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    grafanas = {"__rate_interval", "__range", "__all"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used <= own | grafanas
    assert own <= used


def test_the_dashboards_legends_name_labels_that_a_query_keeps(
    labels: dict[str, set[str]],
) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            kept = {
                word for found in GROUPING.findall(target["expr"]) for word in found.split(", ")
            }
            for name, _ in selectors(target["expr"]):
                kept |= TARGET if "sum" not in target["expr"] else set()
                assert name in labels
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept
