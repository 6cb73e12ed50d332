"""What a webhook that points at us lacks, and whether its deliveries carry our secret."""

from typing import Any

import pytest

from instantly.translation.webhooks import carries, changes_needed, closest, is_ours

URL = "https://instantly-service.example/webhooks/instantly"
NEW, OLD = "the-new-secret-1234", "the-old-secret-1234"
RIGHT = {
    "target_hook_url": URL,
    "event_type": "all_events",
    "campaign": None,
    "headers": {"X-Webhook-Secret": NEW},
}
SECRET: dict[str, Any] = {"headers": {"X-Webhook-Secret": NEW}}


@pytest.mark.parametrize(
    ("shown", "lacks"),
    [
        ({}, {}),
        ({"name": "theirs", "status": -1}, {}),
        ({"custom_interest_value": 5}, {"custom_interest_value": None}),
        ({"headers": {"x-webhook-secret": NEW}}, {}),
        ({"event_type": "email_sent"}, {"event_type": "all_events"}),
        ({"event_type": None}, {"event_type": "all_events"}),
        ({"campaign": "7ec7b7c3-126b-412a-babf-fd79d002e921"}, {"campaign": None}),
        ({"target_hook_url": f"{URL}?secret=1"}, {"target_hook_url": URL}),
        ({"target_hook_url": f"{URL}/"}, {"target_hook_url": URL}),
        ({"headers": None}, SECRET),
        ({"headers": {}}, SECRET),
        ({"headers": "hidden"}, SECRET),
        ({"headers": {"X-Webhook-Secret": "***"}}, SECRET),
        ({"headers": {"X-Webhook-Secret": OLD}}, SECRET),
        # Both would be sent, and arrive as one value that is neither.
        ({"headers": {"X-Webhook-Secret": NEW, "x-webhook-secret": OLD}}, SECRET),
        (
            {"headers": {"Authorization": "Basic x", "x-webhook-secret": OLD, "X-Odd": 5}},
            {"headers": {"Authorization": "Basic x", "X-Webhook-Secret": NEW}},
        ),
    ],
    ids=str,
)
def test_what_a_webhook_lacks_is_set_and_nothing_else(
    shown: dict[str, Any], lacks: dict[str, Any]
) -> None:
    assert changes_needed({**RIGHT, **shown}, URL, [NEW, OLD]) == lacks


def test_headers_that_are_not_shown_are_set_each_time() -> None:
    hidden = {name: value for name, value in RIGHT.items() if name != "headers"}
    assert changes_needed(hidden, URL, [NEW]) == SECRET


def test_without_a_secret_headers_stay_as_they_are() -> None:
    for headers in (None, {"X-Webhook-Secret": OLD}, {"Authorization": "Basic x"}):
        assert changes_needed({**RIGHT, "headers": headers}, URL, []) == {}


def test_a_new_webhook_names_what_it_needs() -> None:
    created = {"target_hook_url": URL, "event_type": "all_events"}
    assert changes_needed({}, URL, [NEW, OLD]) == {**created, **SECRET}
    assert changes_needed({}, URL, []) == created


@pytest.mark.parametrize(
    ("headers", "is_carried"),
    [
        ({"X-Webhook-Secret": NEW}, True),
        ({"x-webhook-secret": OLD, "Authorization": "Basic x"}, True),
        ({"X-Webhook-Secret": NEW + "x"}, False),
        ({"X-Webhook-Secret": NEW, "x-webhook-secret": NEW}, False),
        ({"Authorization": NEW}, False),
        ({}, False),
        (None, False),
        ([NEW], False),
    ],
    ids=str,
)
def test_a_webhook_carries_a_secret_when_it_shows_one_of_ours(
    headers: object, is_carried: bool
) -> None:
    assert carries({"headers": headers}, [NEW, OLD]) is is_carried
    assert carries({"headers": headers}, []) is False


WORKSPACE_WIDE = {"event_type": "all_events"}
ONE_TYPE = {"event_type": "email_sent"}
ONE_CAMPAIGN = {"event_type": "all_events", "campaign": "c"}
ONE_TYPE_OF_ONE_CAMPAIGN = {"event_type": "email_sent", "campaign": "c"}


def test_of_several_the_first_of_those_that_lack_least_is_the_one() -> None:
    best_last = [ONE_TYPE_OF_ONE_CAMPAIGN, ONE_CAMPAIGN, ONE_TYPE, WORKSPACE_WIDE]
    while best_last:
        assert closest(best_last) is best_last.pop()
    assert closest([]) is None
    twins = [{**WORKSPACE_WIDE, "id": number} for number in range(3)]
    assert closest(twins) is twins[0]


OURS = [
    URL,
    f"{URL}/",
    f"{URL}?secret=1",
    f"{URL}/?a=b",
    f" {URL}\n",
    f"HTTPS://{URL[8:]}",
    *(
        URL.replace("instantly-service.example", host)
        for host in (
            "Instantly-Service.EXAMPLE",
            "instantly-service.example:443",
            "instantly-service.example.",
        )
    ),
]
ELSEWHERE = [
    None,
    5,
    "",
    f"{URL}x",
    f"{URL}/x",
    f"{URL}//",
    URL[:-1],
    f"x{URL}",
    URL.upper(),
    URL.replace("https", "http"),
    URL.replace(".example", ".example:8443"),
    "https://[",
    "//x",
]


@pytest.mark.parametrize("target", OURS)
def test_a_webhook_is_ours_however_its_url_is_spelt(target: str) -> None:
    assert is_ours(target, URL)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_webhook_that_points_elsewhere_is_not_ours(target: object) -> None:
    assert not is_ours(target, URL)
