"""Instantly's campaigns: drafts, their switches and their figures."""

import json
from html.parser import HTMLParser

from instantly.sandbox.operations import OPERATIONS
from instantly.sandbox.sending_status import sending_status
from instantly.sandbox.state import Call, Json, Workspace, now

DRAFT = 0
PAUSED = 2
ANALYTICS = next(o.answer for o in OPERATIONS if o.name == "get_campaign_analytics")
COUNTS = [
    name for name, schema in ANALYTICS["items"]["properties"].items() if schema["type"] == "integer"
]


class Campaigns:
    """The operations on campaigns, and how they may go wrong.

    `loses_email_list` drops the senders of a new campaign, as production does now and then.
    `activate_status` is the status that an activation comes to.
    """

    loses_email_list = False
    activate_status = 1

    def create_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = {
            "id": workspace.ids.uuid(),
            "organization": workspace.id,
            "status": DRAFT,
            # Shown even when they were not given.
            "sequences": [],
            "email_list": [],
            "email_tag_list": [],
            **sanitized(call.body),
            "timestamp_created": now(),
            "timestamp_updated": now(),
        }
        if self.loses_email_list:
            campaign["email_list"] = []
        workspace.campaigns[campaign["id"]] = campaign
        return campaign

    def get_campaign(self, workspace: Workspace, call: Call) -> Json:
        return workspace.campaign(call.parameter)

    def patch_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(sanitized(call.body), timestamp_updated=now())
        return campaign

    def delete_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        workspace.remove_leads(workspace.leads_of(campaign["id"]))
        del workspace.campaigns[campaign["id"]]
        return campaign

    def activate_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(status=self.activate_status, timestamp_updated=now())
        return campaign

    def pause_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(status=PAUSED, timestamp_updated=now())
        return campaign

    def get_sending_status(self, workspace: Workspace, call: Call) -> Json:
        return sending_status(workspace, workspace.campaign(call.parameter))

    def get_campaign_analytics(self, workspace: Workspace, call: Call) -> list[Json]:
        """Without an id: all campaigns. One that has sent nothing is left out."""
        return [
            figures(workspace, campaign)
            for campaign in workspace.campaigns.values()
            if call.query.get("id", campaign["id"]) == campaign["id"]
            and workspace.analytics[campaign["id"]]["emails_sent_count"]
        ]


def figures(workspace: Workspace, campaign: Json) -> Json:
    counts = workspace.analytics[campaign["id"]]
    return {
        "campaign_id": campaign["id"],
        "campaign_name": campaign["name"],
        "campaign_status": campaign["status"],
        "campaign_is_evergreen": bool(campaign.get("is_evergreen")),
        **{name: counts[name] for name in COUNTS},
        "leads_count": len(workspace.addresses[campaign["id"]]),
        "total_opportunity_value": 0,
    }


def sanitized(fields: Json) -> Json:
    """Campaign fields with the bodies of their sequences sanitized."""
    fields = json.loads(json.dumps(fields))
    for sequence in fields.get("sequences", ()):
        for step in sequence["steps"]:
            for variant in step["variants"]:
                variant["body"] = Sanitizer.sanitize(variant["body"])
    return fields


class Sanitizer(HTMLParser):
    """Drops text outside any element, as Instantly does with bodies [seen in production]."""

    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self._depth = 0
        self._kept: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._kept.append(self.get_starttag_text() or "")
        if tag not in self.VOID:
            self._depth += 1

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._kept.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self._kept.append(f"</{tag}>")
        self._depth = max(0, self._depth - 1)

    def handle_data(self, data: str) -> None:
        if self._depth:
            self._kept.append(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    @classmethod
    def sanitize(cls, body: str) -> str:
        sanitizer = cls()
        sanitizer.feed(body)
        sanitizer.close()
        return "".join(sanitizer._kept)
