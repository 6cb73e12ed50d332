"""Campaigns and their figures."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from instantly.addresses import same_address
from instantly.clients.instantly.base import (
    InstantlyError,
    Workspace,
    expect,
    expect_one_of,
    is_number,
    is_text,
)
from instantly.limits import MAX_BIGINT
from instantly.readings import whole_or_none


class Campaigns(Workspace):
    def create_campaign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /campaigns → the campaign, a draft. Never repeated: it would make a second one."""
        campaign = self._call("POST", "/campaigns", body=body, repeatable=False, id=is_text)
        try:
            campaign["id"] = str(UUID(campaign["id"]))
        except ValueError as error:
            raise InstantlyError("the answer holds no campaign id") from error
        if not isinstance(campaign.get("email_list"), list):
            campaign["email_list"] = []
        return campaign

    def get_campaign(self, campaign_id: str) -> dict[str, Any]:
        """GET /campaigns/{id} → the campaign; any field but `id` may be odd."""
        return self._call("GET", "/campaigns/{id}", campaign_id, id=is_id(campaign_id))

    def patch_campaign(self, campaign_id: str, changes: Mapping[str, Any]) -> None:
        """PATCH /campaigns/{id}. Arrays are replaced, not merged.

        An answer with another name, or without one of the senders, is an InstantlyError.
        """
        path, is_it = "/campaigns/{id}", is_absent_or(campaign_id)
        campaign = self._call("PATCH", path, campaign_id, body=changes, may_be_empty=True, id=is_it)
        name, senders = changes.get("name"), changes.get("email_list", [])
        if campaign and name and str(campaign.get("name")).strip() != name.strip():
            raise InstantlyError("the answer has another name")
        if isinstance(campaign.get("email_list"), list) and lacks_senders(campaign, senders):
            raise InstantlyError("the answer lacks a sender")

    def delete_campaign(self, campaign_id: str) -> None:
        """DELETE /campaigns/{id}; one that is gone already is as good as deleted."""
        path, is_it = "/campaigns/{id}", is_absent_or(campaign_id)
        try:
            self._call("DELETE", path, campaign_id, may_be_empty=True, id=is_it)
        except InstantlyError as error:
            if error.status != 404 or self._holds_campaign(campaign_id):
                raise

    def _holds_campaign(self, campaign_id: str) -> bool:
        try:
            self.get_campaign(campaign_id)
        except InstantlyError as error:
            if error.status == 404:
                return False
            raise
        return True

    def activate_campaign(self, campaign_id: str) -> dict[str, Any]:
        """POST /campaigns/{id}/activate → the campaign; it may lack any field, even `status`."""
        return self._switch_campaign(campaign_id, "activate")

    def pause_campaign(self, campaign_id: str) -> dict[str, Any]:
        """POST /campaigns/{id}/pause → the campaign; it may lack any field, even `status`."""
        return self._switch_campaign(campaign_id, "pause")

    def _switch_campaign(self, campaign_id: str, verb: str) -> dict[str, Any]:
        return self._call(
            "POST",
            f"/campaigns/{{id}}/{verb}",
            campaign_id,
            may_be_empty=True,
            id=is_absent_or(campaign_id),
            status=lambda value: value is None or is_number(value),
        )

    def get_sending_status(self, campaign_id: str) -> dict[str, Any]:
        """GET /campaigns/{id}/sending-status → `diagnostics` and `summary`; either may be None."""
        answer = self._call("GET", "/campaigns/{id}/sending-status", campaign_id)
        expect_one_of(answer, "diagnostics", "summary")
        parts = {name: answer.get(name) for name in ("diagnostics", "summary")}
        for part in parts.values():
            if part is not None:
                expect(part, status=lambda value: value is None or is_text(value))
        return parts

    def get_campaign_analytics(self, campaign_id: str) -> dict[str, Any] | None:
        """GET /campaigns/analytics → the campaign's figures, None before the first send.

        The filter is named `id`: unknown names are ignored and would report every campaign.
        """
        is_it = is_id(campaign_id)
        campaigns = self._list_analytics({"id": campaign_id})
        return next((each for each in campaigns if is_it(each["campaign_id"])), None)

    def list_campaign_analytics(self) -> list[dict[str, Any]]:
        """GET /campaigns/analytics → the figures of every campaign that has sent something.

        All of the workspace, whoever made them: the list has no pages.
        """
        return self._list_analytics({})

    def _list_analytics(self, params: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = self._request("GET", "/campaigns/analytics", params=params, repeatable=True)
        if not isinstance(answer.body, list):
            raise InstantlyError("the answer is no list")
        return [expect(figures, campaign_id=is_text) for figures in answer.body]


def is_id(campaign_id: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value.lower() == campaign_id.lower()


def lacks_senders(campaign: Mapping[str, Any], senders: Iterable[str]) -> bool:
    """Instantly has been seen to lose senders while they are being warmed up."""
    held = {same_address(str(sender)) for sender in campaign["email_list"]}
    return not {same_address(sender) for sender in senders} <= held


def snapshot_of(figures: Mapping[str, Any] | None) -> dict[str, int]:
    """What our snapshots hold of a campaign's figures; zeros while nothing was sent."""
    return {
        "total_leads": count_in(figures, "leads_count"),
        "contacted": count_in(figures, "contacted_count"),
        "opened": count_in(figures, "open_count_unique", "open_count"),
        "replied": count_in(figures, "reply_count_unique", "reply_count"),
        "bounced": count_in(figures, "bounced_count"),
        "unsubscribed": count_in(figures, "unsubscribed_count"),
    }


def count_in(figures: Mapping[str, Any] | None, *names: str) -> int:
    """The first of these figures that is there; raises InstantlyError for what is no count."""
    if figures is None:
        return 0
    value = next((figures[name] for name in names if figures.get(name) is not None), None)
    count = whole_or_none(value, MAX_BIGINT)
    if count is None or count < 0:
        raise InstantlyError(f"GET /campaigns/analytics: {names[0]} is no count")
    return count


def is_absent_or(campaign_id: str) -> Callable[[object], bool]:
    """Whether an answer's id, if it has one, is that of the campaign that was asked for."""
    return lambda value: value is None or str(value).lower() == campaign_id.lower()
