"""Instantly's API V2, the operations that this service uses, by resource.

Facts are from Instantly's official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json)
unless a comment names another source.
"""

from instantly.clients.instantly.accounts import Accounts
from instantly.clients.instantly.base import InstantlyError, chunks
from instantly.clients.instantly.campaigns import Campaigns
from instantly.clients.instantly.leads import MAX_LEADS_A_CALL, AddedLeads, Leads
from instantly.clients.instantly.webhooks import Webhooks

__all__ = [
    "MAX_LEADS_A_CALL",
    "AddedLeads",
    "InstantlyClient",
    "InstantlyError",
    "chunks",
]


class InstantlyClient(Campaigns, Leads, Accounts, Webhooks):
    """An Instantly workspace, once it has its key; a nonsensical answer is an InstantlyError."""
