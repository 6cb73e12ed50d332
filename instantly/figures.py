"""What Instantly counts of campaigns: kept as snapshots, and compared with our events."""

import re
from collections.abc import Sequence
from typing import Any

from instantly.clients.instantly import InstantlyClient
from instantly.clients.instantly.campaigns import count_in, snapshot_of
from instantly.reconciliation import learn_statuses
from instantly.storage.pool import Row
from instantly.translation.campaigns import status_named
from instantly.web.context import database, services

Figures = dict[str, Any]
"""Instantly's, of one campaign"""

# Instantly's counts, of which the first that is there is taken, each with the column of
# select_event_counts that counts the same.
COMPARED = {
    "sent": [("emails_sent_count", "sent")],
    "replied": [("reply_count_unique", "repliers"), ("reply_count", "replies")],
    "bounced": [("bounced_count", "bounced")],
    "unsubscribed": [("unsubscribed_count", "unsubscribed")],
    "opened": [("open_count_unique", "openers"), ("open_count", "opens")],
}


def keep_snapshots(found: Sequence[tuple[Row, Figures | None]]) -> list[Row]:
    """Of campaigns' figures, None while nothing was sent; each row is a `snapshot` as JSON."""
    counts = [snapshot_of(figures) for _, figures in found]
    return database().fetch_all(
        "insert_snapshots",
        campaign_ids=[campaign["id"] for campaign, _ in found],
        raw_data=[figures for _, figures in found],
        **{name: [each[name] for each in counts] for name in snapshot_of(None)},
    )


def refresh_figures(workspace: InstantlyClient, campaigns: Sequence[Row]) -> dict[str, Any]:
    """Keeps the snapshots and statuses of those that have sent something, all with one call.

    `behind`: those of which Instantly counts more than our events do.
    """
    listed = {each["campaign_id"].lower(): each for each in workspace.list_campaign_analytics()}
    found = [
        (campaign, listed[campaign["instantly_campaign_id"]])
        for campaign in campaigns
        if campaign["instantly_campaign_id"] in listed
    ]
    behind = compare(found)
    keep_snapshots(found)
    learn_statuses(
        (campaign, status_named(figures.get("campaign_status"))) for campaign, figures in found
    )
    return {"success": True, "campaigns": len(found), "behind": behind}


def compare(found: Sequence[tuple[Row, Figures]]) -> list[dict[str, Any]]:
    campaign_ids = [campaign["id"] for campaign, _ in found]
    rows = database().fetch_all("select_event_counts", campaign_ids=campaign_ids)
    ours = {row["id"]: row for row in rows}
    behind = []
    for campaign, figures in found:
        counts = {
            name: counted(figures, ours.get(campaign["id"], {}), ways)
            for name, ways in COMPARED.items()
        }
        if any(count["instantly"] > count["here"] for count in counts.values()):
            behind.append({"campaignId": campaign["id"], **counts})
    return behind


def counted(figures: Figures, ours: Row, ways: Sequence[tuple[str, str]]) -> dict[str, int]:
    theirs, column = next((way for way in ways if figures.get(way[0]) is not None), ways[-1])
    return {"here": ours.get(column, 0), "instantly": count_in(figures, theirs)}


def excluded_addresses() -> list[str]:
    """LIKE patterns for the addresses that do not count in statistics.

    They are the excluded ones, those of excluded domains and subdomains, and the pseudonyms of
    such that were erased.
    """
    patterns = []
    for name in services().settings.stats_excluded:
        exact = re.sub(r"([\\%_])", r"\\\1", name)
        patterns += [exact] if "@" in name else [f"%@{exact}", f"%.{exact}"]
    return [*patterns, "erased:%@excluded"] if patterns else []
