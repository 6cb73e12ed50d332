"""The real server tells its figures while everybody waits for another service."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from figures import PREFIX, figure, read
from harness import HANGING_SECONDS
from world import API_KEY, World

from instantly.schemas.shapes import SHAPES

pytestmark = pytest.mark.outage

ACTS = 100


def test_the_metrics_are_there_while_acts_wait(served: World) -> None:
    keys_http = served.upstreams.keys_http
    keys_http.fail("GET", "/internal/keys/.*", times=None, how="hang")
    with ThreadPoolExecutor(ACTS) as callers:
        acts = [callers.submit(served.create) for _ in range(ACTS)]
        try:
            keys_http.wait_until_hanging(ACTS, timeout=HANGING_SECONDS)
            assert figure(served.client, "acts_waiting") == ACTS
            assert figure(served.client, "database_connections_in_use") == 0
        finally:
            keys_http.heal()
        assert {act.result().status_code for act in acts} == {201}
    assert figure(served.client, "acts_waiting") == 0
    assert figure(served.client, "campaigns_created_total") == ACTS


def test_what_can_become_of_a_delivery_is_there_before_the_first_one(served: World) -> None:
    """A series that begins with 1 has not risen in Prometheus' eyes."""
    outcomes = {"recorded", *SHAPES["Received"]["properties"]["reason"]["enum"]}
    found = {
        (dict(labels)["source"], dict(labels)["outcome"]): value
        for (name, labels), value in read(served.client).items()
        if name == f"{PREFIX}deliveries_total"
    }
    assert found == {(source, each): 0 for source in ("webhook", "recovery") for each in outcomes}


def test_prometheus_reads_them_with_a_token(served: World) -> None:
    url = f"{served.client.url}/metrics"
    for token, status in ((API_KEY, 200), ("other", 401)):
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(url, headers=headers, timeout=HANGING_SECONDS)
        assert answer.status_code == status
    assert requests.get(url, timeout=HANGING_SECONDS).status_code == 401
