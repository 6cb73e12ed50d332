"""The shapes of answers, as JSON Schema.

They only describe: views and SQL make the answers, and the tests compare each one with its shape.
A record that is a constant has a name in the document, after the constant; a view answers with one.
"""

from typing import Any

from instantly.translation.campaign_status import STATUSES
from instantly.translation.events import LEAD_STATUS

Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
UUID: Shape = {"type": "string", "format": "uuid"}
TIME: Shape = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}
COUNT: Shape = {"type": "integer", "minimum": 0}
INTEGER: Shape = {"type": "integer"}
STEP: Shape = {"type": "integer", "minimum": 1}
BOOLEAN: Shape = {"type": "boolean"}
OBJECT: Shape = {"type": "object"}
SUCCESS: Shape = {"type": "boolean", "const": True}


def one_of(*values: str) -> Shape:
    return {"type": "string", "enum": list(dict.fromkeys(values))}


def nullable(shape: Shape) -> Shape:
    if shape.keys() & {"enum", "properties"}:
        return {"anyOf": [shape, {"type": "null"}]}
    return {**shape, "type": [shape["type"], "null"]}


def array(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def each(shape: Shape, *names: str) -> dict[str, Shape]:
    """Properties that are alike."""
    return dict.fromkeys(names, shape)


def record(*optional: str, **properties: Shape) -> Shape:
    """An object. Every property is always there, but for the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


ERROR_DETAILS = record()
ERROR = record(
    *("details", "allowed"),
    error=TEXT,
    details={"anyOf": [TEXT, ERROR_DETAILS]},
    allowed=array(TEXT),
)

DOCUMENT = record()
INDEX = record(**each(TEXT, "service", "version"))
HEALTHY = record(status=one_of("ok"), service=TEXT, database=one_of("ok"))
DEGRADED = record(status=one_of("degraded"), service=TEXT, database=one_of("unreachable"))

PAGE = {**each(COUNT, "count", "total"), "nextCursor": nullable(TEXT)}
CAMPAIGN_STATUS = one_of(*STATUSES.values())
METADATA = record()
CAMPAIGN = record(
    **each(UUID, "id", "instantlyCampaignId"),
    name=TEXT,
    status=CAMPAIGN_STATUS,
    **each(TEXT, "orgId", "clerkOrgId", "brandId", "appId"),
    runId=UUID,
    parentRunId=nullable(UUID),
    metadata=nullable(METADATA),
    **each(TIME, "createdAt", "updatedAt"),
)
ONE_CAMPAIGN = record(campaign=CAMPAIGN)
SWITCHED_CAMPAIGN = record("warnings", campaign=CAMPAIGN, warnings=array(TEXT))
CAMPAIGNS = record(campaigns=array(CAMPAIGN), **PAGE)
NEW_CAMPAIGN = record(**each(UUID, "id", "instantlyCampaignId"), name=TEXT, status=one_of("draft"))
CREATED_CAMPAIGN = record(success=SUCCESS, campaign=NEW_CAMPAIGN, warnings=array(TEXT))
SENDING_DETAILS = record()
SENDING_STATUS = record(
    sending=nullable(BOOLEAN),
    reason=nullable(TEXT),
    explanation=TEXT,
    **each(nullable(SENDING_DETAILS), "diagnostics", "summary"),
)
RECONCILED_LEADS = record(
    **each(COUNT, "both", "adopted", "raised"), onlyHere=array(TEXT), onlyHereTotal=COUNT
)
RECONCILED = record(success=SUCCESS, campaignStatus=CAMPAIGN_STATUS, leads=RECONCILED_LEADS)

LEAD_STATE = one_of("active", *LEAD_STATUS.values())
LEAD = record(
    **each(UUID, "id", "instantlyCampaignId"),
    **each(TEXT, "instantlyLeadId", "email"),
    **each(nullable(TEXT), "firstName", "lastName", "companyName"),
    customVariables=OBJECT,
    status=LEAD_STATE,
    orgId=TEXT,
    runId=nullable(UUID),
    **each(TIME, "createdAt", "updatedAt"),
)
LEADS = record(leads=array(LEAD), **PAGE)
REJECTED_LEAD = record(email=TEXT, reason=one_of("invalid", "blocklisted", "skipped", "unknown"))
ADDED_LEADS = record(
    success=SUCCESS, **each(COUNT, "added", "total", "duplicates"), rejected=array(REJECTED_LEAD)
)
DELETED_LEADS = record(success=SUCCESS, deleted=COUNT, notFound=array(TEXT))

LEAD_FACTS = ("contacted", "opened", "clicked", "replied", "bounced", "unsubscribed")
LEAD_CAMPAIGN = record(campaignId=UUID, status=LEAD_STATE)
ADDRESS_STATUS = record(
    email=TEXT,
    known=BOOLEAN,
    status=nullable(LEAD_STATE),
    **each(BOOLEAN, *LEAD_FACTS),
    lastEventAt=nullable(TIME),
    campaigns=array(LEAD_CAMPAIGN),
)
LEAD_STATUSES = record(leads=array(ADDRESS_STATUS))

EVENT = record(
    "payload",
    **each(TEXT, "id", "eventType"),
    **each(nullable(TEXT), "leadEmail", "accountEmail"),
    **each(nullable(STEP), "step", "variant"),
    **each(TIME, "occurredAt", "receivedAt"),
    payload=OBJECT,
)
EVENTS = record(events=array(EVENT), **{**PAGE, "total": nullable(COUNT)})

ACCOUNT = record(
    id=UUID,
    email=TEXT,
    status=one_of(
        *("active", "paused", "maintenance", "connection_error", "soft_bounce_error"),
        *("sending_error", "removed"),
    ),
    warmupEnabled=BOOLEAN,
    warmupStatus=one_of(
        *("paused", "active", "banned", "spam_folder_unknown", "permanent_suspension")
    ),
    warmupScore={"type": ["number", "null"]},
    **each(nullable(INTEGER), "dailySendLimit", "providerCode"),
    **each(TIME, "createdAt", "updatedAt"),
)
ACCOUNTS = record(accounts=array(ACCOUNT))
SYNCED_ACCOUNTS = record(success=SUCCESS, **each(COUNT, "synced", "removed"))
WARMUP_JOB = record(**each(TEXT, "id", "status"))
SWITCHED_WARMUP = record(success=SUCCESS, email=TEXT, warmupEnabled=BOOLEAN, job=WARMUP_JOB)
WARMUP_FIGURES = record(**each(OBJECT, "email_date_data", "aggregate_data"))
WARMUP_ANALYTICS = record(analytics=WARMUP_FIGURES)

FIGURES = each(COUNT, "totalLeads", "contacted", "opened", "replied", "bounced", "unsubscribed")
SNAPSHOT = record(**each(UUID, "id", "campaignId"), **FIGURES, snapshotAt=TIME)
INSTANTLY_ANALYTICS = record()
CAMPAIGN_ANALYTICS = record(analytics=nullable(INSTANTLY_ANALYTICS), snapshot=SNAPSHOT)
EMAILS = each(COUNT, "emailsSent", "emailsOpened", "emailsReplied", "emailsBounced")
EMAIL_STATS = record(
    **EMAILS,
    **each(COUNT, "emailsDelivered", "emailsClicked", "repliesAutoReply"),
    **each(COUNT, "repliesNotInterested", "repliesOutOfOffice", "repliesUnsubscribe"),
)
STEP_STATS = record(step=STEP, **EMAILS)
SNAPSHOT_SUMS = record(campaigns=COUNT, **FIGURES)
STATS_GROUP = record(
    key={**STEP, "type": ["string", "integer", "null"]}, stats=EMAIL_STATS, recipients=COUNT
)
STATS = record(
    *("groups", "groupsTotal"),
    stats=EMAIL_STATS,
    recipients=COUNT,
    stepStats=array(STEP_STATS),
    snapshots=SNAPSHOT_SUMS,
    groups=array(STATS_GROUP),
    groupsTotal=COUNT,
)

WEBHOOK_CONFIG = record(webhookUrl=TEXT)
RECEIVED = record(
    *("reason", "eventType"),
    success=SUCCESS,
    recorded=BOOLEAN,
    reason=one_of("unknown campaign", "duplicate", "unverified"),
    eventType=TEXT,
)
RECOVERED = record(
    success=SUCCESS,
    **each(COUNT, "found", "recorded", "duplicates", "ignored"),
    resumedWebhooks=array(TEXT),
)
WEBHOOK_STATUS = one_of("active", "disabled")
REGISTERED = record(
    success=SUCCESS,
    webhook=record(id=TEXT, status=WEBHOOK_STATUS),
    **each(BOOLEAN, "created", "updated", "resumed"),
)
WEBHOOK_STATE = record(id=TEXT, status=WEBHOOK_STATUS, verified=BOOLEAN)
WEBHOOK_HEALTH = record(
    webhooks=array(WEBHOOK_STATE),
    lastDeliveryAt=nullable(TIME),
    failedDeliveries=COUNT,
)
