"""The shapes of the answers, as JSON Schema, each with an example: what openapi.py serves."""

from dataclasses import dataclass
from typing import Any

from instantly.events import LEAD_STATUS

Shape = dict[str, Any]

SCALAR_TYPES = ["string", "number", "boolean", "null"]
TEXT: Shape = {"type": "string"}
TEXT_OR_NULL: Shape = {"type": ["string", "null"]}
UUID: Shape = {"type": "string", "format": "uuid"}
UUID_OR_NULL: Shape = {"type": ["string", "null"], "format": "uuid"}
TIME: Shape = {"type": "string", "format": "date-time"}
COUNT: Shape = {"type": "integer", "minimum": 0}
BOOLEAN: Shape = {"type": "boolean"}
OBJECT: Shape = {"type": "object"}
SUCCESS: Shape = {"const": True}


@dataclass(frozen=True)
class Answer:
    description: str
    schema: Shape | str
    example: Any
    media_type: str = "application/json"


def one_of(*values: str) -> Shape:
    return {"type": "string", "enum": list(values)}


def array(items: Shape | str) -> Shape:
    return {"type": "array", "items": reference(items)}


def reference(shape: Shape | str) -> Shape:
    return {"$ref": f"#/components/schemas/{shape}"} if isinstance(shape, str) else shape


def record(**properties: Shape | str) -> Shape:
    """An object in which every one of these is always there."""
    return {
        "type": "object",
        "properties": {name: reference(shape) for name, shape in properties.items()},
        "required": list(properties),
    }


CAMPAIGN_STATUS = one_of(
    *("draft", "active", "paused", "completed", "running_subsequences"),
    *("accounts_unhealthy", "bounce_protect", "account_suspended"),
)
ACCOUNT_STATUS = one_of(
    *("active", "paused", "maintenance", "connection_error", "soft_bounce_error"),
    *("sending_error", "removed"),
)
WARMUP_STATUS = one_of("paused", "active", "banned", "spam_folder_unknown", "permanent_suspension")

COMPONENTS: dict[str, Shape] = {
    "Error": {
        "type": "object",
        "properties": {"error": TEXT, "details": {"type": ["string", "object"]}},
        "required": ["error"],
    },
    "Campaign": record(
        id=UUID,
        instantlyCampaignId=UUID,
        name=TEXT,
        status=CAMPAIGN_STATUS,
        orgId=TEXT,
        clerkOrgId=TEXT,
        brandId=TEXT,
        appId=TEXT,
        runId=UUID,
        parentRunId=UUID_OR_NULL,
        metadata={"type": ["object", "null"]},
        createdAt=TIME,
        updatedAt=TIME,
    ),
    "StoredLead": record(
        id=UUID,
        instantlyCampaignId=UUID,
        instantlyLeadId=TEXT,
        email=TEXT,
        firstName=TEXT_OR_NULL,
        lastName=TEXT_OR_NULL,
        companyName=TEXT_OR_NULL,
        customVariables=OBJECT,
        status=one_of(*dict.fromkeys(["active", *LEAD_STATUS.values()])),
        orgId=TEXT,
        runId=UUID,
        createdAt=TIME,
        updatedAt=TIME,
    ),
    "Account": record(
        id=UUID,
        email=TEXT,
        status=ACCOUNT_STATUS,
        warmupEnabled=BOOLEAN,
        warmupStatus=WARMUP_STATUS,
        warmupScore={"type": ["number", "null"]},
        dailySendLimit={"type": ["integer", "null"]},
        providerCode={"type": ["integer", "null"]},
        createdAt=TIME,
        updatedAt=TIME,
    ),
    "Snapshot": record(
        id=UUID,
        campaignId=UUID,
        totalLeads=COUNT,
        contacted=COUNT,
        opened=COUNT,
        replied=COUNT,
        bounced=COUNT,
        unsubscribed=COUNT,
        snapshotAt=TIME,
    ),
}

CAMPAIGN_EXAMPLE: dict[str, Any] = {
    "id": "4d0b84a8-f1a1-4bcb-bbd9-eaf25500d314",
    "instantlyCampaignId": "01a202e3-da45-77c1-a807-2e8c35bf992d",
    "name": "Autumn outreach",
    "status": "active",
    "orgId": "org_acme",
    "clerkOrgId": "org_acme",
    "brandId": "brand_1",
    "appId": "app_1",
    "runId": "9f096efc-cafe-4181-b4bf-3ce3a393a7ea",
    "parentRunId": None,
    "metadata": None,
    "createdAt": "2026-11-22T10:53:41.100Z",
    "updatedAt": "2026-11-22T10:53:41.344Z",
}
LEAD_EXAMPLE: dict[str, Any] = {
    "id": "a1931ed3-a6a5-49b3-be61-30ab69c00760",
    "instantlyCampaignId": CAMPAIGN_EXAMPLE["instantlyCampaignId"],
    "instantlyLeadId": "01a202e3-da46-7d5e-a4b0-6ce60741c7a8",
    "email": "ada@example.com",
    "firstName": "Ada",
    "lastName": None,
    "companyName": "Engines Ltd",
    "customVariables": {},
    "status": "opened",
    "orgId": "org_acme",
    "runId": "f2c90e69-eac4-4f57-9909-62ffb5ce4779",
    "createdAt": "2026-11-22T10:53:41.315Z",
    "updatedAt": "2026-11-22T10:53:52.480Z",
}
ACCOUNT_EXAMPLE = {
    "id": "0aedbda4-6e4c-4ecd-beaf-13f5f6afaa47",
    "email": "lena@try-northbeam.example",
    "status": "active",
    "warmupEnabled": True,
    "warmupStatus": "active",
    "warmupScore": 97,
    "dailySendLimit": 30,
    "providerCode": 2,
    "createdAt": "2026-11-22T10:53:41.315Z",
    "updatedAt": "2026-11-22T10:53:41.315Z",
}
CREATE_CAMPAIGN_EXAMPLE: dict[str, Any] = {
    "orgId": "org_acme",
    "clerkOrgId": "org_acme",
    "brandId": "brand_1",
    "appId": "app_1",
    "name": "Autumn outreach",
    "accountIds": ["lena@try-northbeam.example"],
    "sequence": [
        {"subject": "Hello {{firstName}}", "bodyHtml": "Hi {{firstName}},\n\nten minutes?"},
        {"subject": "", "bodyHtml": "<p>Any thoughts?</p>", "daysSinceLastStep": 3},
    ],
    "schedule": {"timezone": "America/New_York", "from": "09:00", "to": "16:00"},
    "settings": {"dailyLimit": 40, "openTracking": True},
}
ADD_LEADS_EXAMPLE = {
    "orgId": "org_acme",
    "leads": [
        {"email": "ada@example.com", "firstName": "Ada", "companyName": "Engines Ltd"},
        {"email": "grace@example.com", "customVariables": {"city": "Arlington"}},
    ],
}
DELIVERY: Shape = {
    "type": "object",
    "properties": {"event_type": {"type": "string", "minLength": 1}},
    "required": ["event_type"],
}
DELIVERY_EXAMPLE = {
    "timestamp": "2026-08-18T08:03:19.774Z",
    "event_type": "email_opened",
    "workspace": "922f3d9b-20be-461f-9b69-90928701ce93",
    "campaign_id": CAMPAIGN_EXAMPLE["instantlyCampaignId"],
    "campaign_name": "Autumn outreach",
    "lead_email": "ada@example.com",
    "email_account": "lena@try-northbeam.example",
    "step": 1,
    "variant": 1,
}

INDEX = Answer(
    "The service and its version",
    record(service=TEXT, version=TEXT),
    {"service": "instantly-service", "version": "1.0.0"},
)
HEALTH = Answer(
    "Postgres answers",
    record(status=one_of("ok"), service=TEXT, database=one_of("ok")),
    {"status": "ok", "service": "instantly-service", "database": "ok"},
)
DEGRADED = Answer(
    "Postgres does not answer",
    record(status=one_of("degraded"), service=TEXT, database=one_of("unreachable")),
    {"status": "degraded", "service": "instantly-service", "database": "unreachable"},
)
DOCUMENT = Answer("This document", OBJECT, {"openapi": "3.1.0"})
PAGE = Answer("This document, readable", TEXT, "<!doctype html>", media_type="text/html")
CREATED_CAMPAIGN = Answer(
    "The campaign is a draft in Instantly",
    record(
        success=SUCCESS,
        campaign=record(id=UUID, instantlyCampaignId=UUID, name=TEXT, status=one_of("draft")),
    ),
    {
        "success": True,
        "campaign": {
            "id": CAMPAIGN_EXAMPLE["id"],
            "instantlyCampaignId": CAMPAIGN_EXAMPLE["instantlyCampaignId"],
            "name": "Autumn outreach",
            "status": "draft",
        },
    },
)
CAMPAIGN = Answer("The campaign", record(campaign="Campaign"), {"campaign": CAMPAIGN_EXAMPLE})
CAMPAIGNS = Answer(
    "One page of campaigns; `nextCursor` is null on the last one",
    record(campaigns=array("Campaign"), count=COUNT, total=COUNT, nextCursor=TEXT_OR_NULL),
    {"campaigns": [CAMPAIGN_EXAMPLE], "count": 1, "total": 1, "nextCursor": None},
)
ADDED_LEADS = Answer(
    "added + duplicates + rejected = total",
    record(
        success=SUCCESS,
        added=COUNT,
        total=COUNT,
        duplicates=COUNT,
        rejected=array(
            record(email=TEXT, reason=one_of("invalid", "blocklisted", "skipped", "unknown"))
        ),
    ),
    {"success": True, "added": 2, "total": 2, "duplicates": 0, "rejected": []},
)
LEADS = Answer(
    "One page of leads; `nextCursor` is null on the last one",
    record(leads=array("StoredLead"), count=COUNT, total=COUNT, nextCursor=TEXT_OR_NULL),
    {"leads": [LEAD_EXAMPLE], "count": 1, "total": 1, "nextCursor": None},
)
DELETED_LEADS = Answer(
    "The leads are gone, in Instantly and here",
    record(success=SUCCESS, deleted=COUNT, notFound=array(TEXT)),
    {"success": True, "deleted": 1, "notFound": ["nobody@example.com"]},
)
ACCOUNTS = Answer(
    "The accounts", record(accounts=array("Account")), {"accounts": [ACCOUNT_EXAMPLE]}
)
SYNCED_ACCOUNTS = Answer(
    "The accounts are those of Instantly",
    record(success=SUCCESS, synced=COUNT, removed=COUNT),
    {"success": True, "synced": 12, "removed": 0},
)
WARMUP = Answer(
    "Instantly's job has succeeded (200) or is still running (202)",
    record(success=SUCCESS, email=TEXT, warmupEnabled=BOOLEAN, job=record(id=TEXT, status=TEXT)),
    {
        "success": True,
        "email": "lena@try-northbeam.example",
        "warmupEnabled": True,
        "job": {"id": "7ce42c8218072e8c35bf992d", "status": "success"},
    },
)
WARMUP_ANALYTICS = Answer(
    "Instantly's figures by address",
    record(analytics=record(email_date_data=OBJECT, aggregate_data=OBJECT)),
    {"analytics": {"email_date_data": {}, "aggregate_data": {}}},
)
SNAPSHOT_FIGURES = {
    "totalLeads": 120,
    "contacted": 100,
    "opened": 40,
    "replied": 6,
    "bounced": 2,
    "unsubscribed": 1,
}
ANALYTICS = Answer(
    "Instantly's figures, null while nothing was sent, and the snapshot that was kept of them",
    record(analytics={"type": ["object", "null"]}, snapshot="Snapshot"),
    {
        "analytics": None,
        "snapshot": {
            "id": "ed71418a-81bc-46ee-99e8-10a71d8045e1",
            "campaignId": CAMPAIGN_EXAMPLE["id"],
            **dict.fromkeys(SNAPSHOT_FIGURES, 0),
            "snapshotAt": "2026-11-22T11:01:29.497Z",
        },
    },
)
STATS = Answer(
    "What the events of the matching campaigns add up to",
    record(
        stats=record(
            emailsSent=COUNT,
            emailsDelivered=COUNT,
            emailsOpened=COUNT,
            emailsClicked=COUNT,
            emailsReplied=COUNT,
            emailsBounced=COUNT,
            repliesAutoReply=COUNT,
            repliesNotInterested=COUNT,
            repliesOutOfOffice=COUNT,
            repliesUnsubscribe=COUNT,
        ),
        recipients=COUNT,
        stepStats=array(
            record(
                step={"type": "integer", "minimum": 1},
                emailsSent=COUNT,
                emailsOpened=COUNT,
                emailsReplied=COUNT,
                emailsBounced=COUNT,
            )
        ),
        snapshots=record(campaigns=COUNT, **dict.fromkeys(SNAPSHOT_FIGURES, COUNT)),
    ),
    {
        "stats": {
            "emailsSent": 180,
            "emailsDelivered": 178,
            "emailsOpened": 40,
            "emailsClicked": 9,
            "emailsReplied": 6,
            "emailsBounced": 2,
            "repliesAutoReply": 3,
            "repliesNotInterested": 1,
            "repliesOutOfOffice": 2,
            "repliesUnsubscribe": 1,
        },
        "recipients": 100,
        "stepStats": [
            {
                "step": 1,
                "emailsSent": 100,
                "emailsOpened": 35,
                "emailsReplied": 4,
                "emailsBounced": 2,
            }
        ],
        "snapshots": {"campaigns": 1, **SNAPSHOT_FIGURES},
    },
)
WEBHOOK_CONFIG = Answer(
    "Where Instantly's webhooks must point",
    record(webhookUrl=TEXT),
    {"webhookUrl": "https://instantly.example.com/webhooks/instantly"},
)
RECEIVED = Answer(
    "The delivery was recorded, or need not be",
    {
        "type": "object",
        "properties": {
            "success": SUCCESS,
            "recorded": BOOLEAN,
            "reason": one_of("unknown campaign", "duplicate"),
            "eventType": TEXT,
        },
        "required": ["success", "recorded"],
    },
    {"success": True, "recorded": True, "eventType": "email_opened"},
)
RECOVERED = Answer(
    "Every failed delivery of these days was looked at",
    record(
        success=SUCCESS,
        found=COUNT,
        recorded=COUNT,
        duplicates=COUNT,
        ignored=COUNT,
        resumedWebhooks=array(TEXT),
    ),
    {
        "success": True,
        "found": 12,
        "recorded": 10,
        "duplicates": 1,
        "ignored": 1,
        "resumedWebhooks": ["01a202e3-da45-77c1-a807-2e8c35bf992d"],
    },
)
