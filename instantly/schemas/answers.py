"""The shapes of answers, as JSON Schema.

They only describe: views and SQL make the answers, and the tests compare each one with its shape.
A view answers with an object, which has a name in the document.
"""

from instantly.schemas.shapes import (
    BOOLEAN,
    COUNT,
    INTEGER,
    OBJECT,
    STEP,
    SUCCESS,
    TEXT,
    TIME,
    UUID,
    array,
    each,
    named,
    nullable,
    object_of,
    one_of,
)
from instantly.translation.campaigns import STATUSES
from instantly.translation.events import LEAD_STATUS
from instantly.translation.messages import DIRECTIONS

ERROR_DETAILS = object_of("ErrorDetails")
ERROR = object_of(
    "Error",
    "details",
    "allowed",
    error=TEXT,
    details={"anyOf": [TEXT, ERROR_DETAILS]},
    allowed=array(TEXT),
)

DOCUMENT = object_of("Document")
INDEX = object_of("Index", **each(TEXT, "service", "version"))
HEALTHY = object_of("Healthy", status=one_of("ok"), service=TEXT, database=one_of("ok"))
DEGRADED = object_of(
    "Degraded", status=one_of("degraded"), service=TEXT, database=one_of("unreachable")
)

PAGE = {**each(COUNT, "count", "total"), "nextCursor": nullable(TEXT)}
CAMPAIGN_STATUS = named("CampaignStatus", one_of(*STATUSES.values()))
METADATA = object_of("Metadata")
CAMPAIGN = object_of(
    "Campaign",
    **each(UUID, "id", "instantlyCampaignId"),
    name=TEXT,
    status=CAMPAIGN_STATUS,
    **each(TEXT, "orgId", "clerkOrgId", "brandId", "appId"),
    runId=UUID,
    parentRunId=nullable(UUID),
    metadata=nullable(METADATA),
    **each(TIME, "createdAt", "updatedAt"),
)
ONE_CAMPAIGN = object_of("OneCampaign", campaign=CAMPAIGN)
SWITCHED_CAMPAIGN = object_of(
    "SwitchedCampaign", "warnings", campaign=CAMPAIGN, warnings=array(TEXT)
)
CHANGED_CAMPAIGN = object_of("ChangedCampaign", campaign=CAMPAIGN, warnings=array(TEXT))
CAMPAIGNS = object_of("Campaigns", campaigns=array(CAMPAIGN), **PAGE)
NEW_CAMPAIGN = object_of(
    "NewCampaign", **each(UUID, "id", "instantlyCampaignId"), name=TEXT, status=one_of("draft")
)
CREATED_CAMPAIGN = object_of(
    "CreatedCampaign", success=SUCCESS, campaign=NEW_CAMPAIGN, warnings=array(TEXT)
)
TEXTS = each(nullable(TEXT), "subject", "bodyHtml")
CONFIGURED_STEP = object_of(
    "ConfiguredStep",
    *TEXTS,
    "variants",
    **TEXTS,
    variants=array(object_of("ConfiguredVariant", **TEXTS)),
    daysSinceLastStep=nullable(COUNT),
)
CONFIGURED_SCHEDULE = object_of(
    "ConfiguredSchedule",
    **each(nullable(TEXT), "timezone", "from", "to", "startDate", "endDate"),
    days=nullable(array(TEXT)),
)
CAMPAIGN_CONFIGURATION = object_of(
    "CampaignConfiguration",
    name=nullable(TEXT),
    accountIds=nullable(array(TEXT)),
    sequence=nullable(array(CONFIGURED_STEP)),
    schedule=nullable(CONFIGURED_SCHEDULE),
    settings={"$ref": "#/components/schemas/CampaignSettings"},
)
CONFIGURATION = object_of("Configuration", configuration=CAMPAIGN_CONFIGURATION)
SENDING_DETAILS = object_of("SendingDetails")
SENDING_STATUS = object_of(
    "SendingStatus",
    sending=nullable(BOOLEAN),
    reason=nullable(TEXT),
    explanation=TEXT,
    **each(nullable(SENDING_DETAILS), "diagnostics", "summary"),
)
RECONCILED_LEADS = object_of(
    "ReconciledLeads",
    **each(COUNT, "both", "adopted", "raised"),
    onlyHere=array(TEXT),
    onlyHereTotal=COUNT,
)
RECONCILED = object_of(
    "Reconciled", success=SUCCESS, campaignStatus=CAMPAIGN_STATUS, leads=RECONCILED_LEADS
)

LEAD_STATE = named("LeadState", one_of("active", *LEAD_STATUS.values()))
LEAD = object_of(
    "Lead",
    **each(UUID, "id", "instantlyCampaignId"),
    **each(TEXT, "instantlyLeadId", "email"),
    **each(nullable(TEXT), "firstName", "lastName", "companyName"),
    customVariables=OBJECT,
    status=LEAD_STATE,
    orgId=TEXT,
    runId=nullable(UUID),
    **each(TIME, "createdAt", "updatedAt"),
)
LEADS = object_of("Leads", leads=array(LEAD), **PAGE)
REJECTED_LEAD = object_of(
    "RejectedLead",
    "index",
    "details",
    email=nullable(TEXT),
    reason=one_of(
        *(
            "erased unsubscribed bounced replied contacted held malformed invalid"
            " blocklisted skipped plan_full unknown"
        ).split(),
    ),
    index=COUNT,
    details=ERROR_DETAILS,
)
ADDED_LEADS = object_of(
    "AddedLeads",
    success=SUCCESS,
    **each(COUNT, "added", "total", "duplicates"),
    rejected=array(REJECTED_LEAD),
    remainingInPlan=nullable(INTEGER),
    warnings=array(TEXT),
)
DELETED_LEADS = object_of("DeletedLeads", success=SUCCESS, deleted=COUNT, notFound=array(TEXT))

LEAD_FACTS = ("contacted", "opened", "clicked", "replied", "bounced", "unsubscribed")
LEAD_CAMPAIGN = object_of("LeadCampaign", campaignId=UUID, status=LEAD_STATE)
ADDRESS_STATUS = object_of(
    "AddressStatus",
    email=TEXT,
    known=BOOLEAN,
    status=nullable(LEAD_STATE),
    **each(BOOLEAN, *LEAD_FACTS),
    lastEventAt=nullable(TIME),
    campaigns=array(LEAD_CAMPAIGN),
)
ERASED_PEOPLE = object_of("Erased", success=SUCCESS, **each(COUNT, "erased", "leads", "events"))
LEAD_STATUSES = object_of("LeadStatuses", leads=array(ADDRESS_STATUS))

EVENT = object_of(
    "Event",
    "payload",
    id=TEXT,
    campaignId=UUID,
    eventType=TEXT,
    **each(nullable(TEXT), "leadEmail", "accountEmail"),
    **each(nullable(STEP), "step", "variant"),
    **each(TIME, "occurredAt", "receivedAt"),
    payload=OBJECT,
)
EVENTS = object_of("Events", events=array(EVENT), **{**PAGE, "total": nullable(COUNT)})

ACCOUNT = object_of(
    "Account",
    id=UUID,
    email=TEXT,
    status=one_of(
        *"active paused maintenance connection_error soft_bounce_error sending_error".split(),
        "removed",
    ),
    warmupEnabled=BOOLEAN,
    warmupStatus=one_of(*"paused active banned spam_folder_unknown permanent_suspension".split()),
    warmupScore={"type": ["number", "null"]},
    **each(nullable(INTEGER), "dailySendLimit", "providerCode"),
    **each(TIME, "createdAt", "updatedAt"),
)
ACCOUNTS = object_of("Accounts", accounts=array(ACCOUNT))
SYNCED_ACCOUNTS = object_of("SyncedAccounts", success=SUCCESS, **each(COUNT, "synced", "removed"))
WARMUP_JOB = object_of("WarmupJob", **each(TEXT, "id", "status"))
SWITCHED_WARMUP = object_of(
    "SwitchedWarmup", success=SUCCESS, email=TEXT, warmupEnabled=BOOLEAN, job=WARMUP_JOB
)
WARMUP_FIGURES = object_of("WarmupFigures", **each(OBJECT, "email_date_data", "aggregate_data"))
WARMUP_ANALYTICS = object_of("WarmupAnalytics", analytics=WARMUP_FIGURES)

FIGURES = each(COUNT, "totalLeads", "contacted", "opened", "replied", "bounced", "unsubscribed")
SNAPSHOT = object_of("Snapshot", **each(UUID, "id", "campaignId"), **FIGURES, snapshotAt=TIME)
INSTANTLY_ANALYTICS = object_of("InstantlyAnalytics")
CAMPAIGN_ANALYTICS = object_of(
    "CampaignAnalytics", analytics=nullable(INSTANTLY_ANALYTICS), snapshot=SNAPSHOT
)
COMPARED_COUNT = object_of("ComparedCount", **each(COUNT, "here", "instantly"))
BEHIND = object_of(
    "BehindCampaign",
    campaignId=UUID,
    **each(COMPARED_COUNT, "sent", "replied", "bounced", "unsubscribed", "opened"),
)
REFRESHED = object_of("Refreshed", success=SUCCESS, campaigns=COUNT, behind=array(BEHIND))
EMAILS = each(COUNT, "emailsSent", "emailsOpened", "emailsReplied", "emailsBounced")
EMAIL_STATS = object_of(
    "EmailStats",
    **EMAILS,
    **each(COUNT, "emailsDelivered", "emailsClicked", "repliesAutoReply"),
    **each(COUNT, "repliesNotInterested", "repliesOutOfOffice", "repliesUnsubscribe"),
)
STEP_STATS = object_of("StepStats", step=STEP, **EMAILS, emailsClicked=COUNT)
SNAPSHOT_SUMS = object_of("SnapshotSums", campaigns=COUNT, **FIGURES)
PEOPLE = object_of("People", **each(COUNT, "leads", "delivered", *LEAD_FACTS))
REPLIES = object_of(
    "Replies",
    **each(COUNT, "interested", "meetingBooked", "meetingCompleted", "closed", "notInterested"),
    **each(COUNT, "wrongPerson", "neutral", "outOfOffice", "noShow", "lost"),
)
STATS_GROUP = object_of(
    "StatsGroup",
    "people",
    "replies",
    key={**STEP, "type": ["string", "integer", "null"]},
    stats=EMAIL_STATS,
    recipients=COUNT,
    people=PEOPLE,
    replies=REPLIES,
)
STATS = object_of(
    "Stats",
    "snapshots",
    "people",
    "replies",
    "groups",
    "groupsTotal",
    stats=EMAIL_STATS,
    recipients=COUNT,
    stepStats=array(STEP_STATS),
    snapshots=SNAPSHOT_SUMS,
    people=PEOPLE,
    replies=REPLIES,
    groups=array(STATS_GROUP),
    groupsTotal=COUNT,
)

WEBHOOK_CONFIG = object_of("WebhookConfig", webhookUrl=TEXT)
RECEIVED = object_of(
    "Received",
    "reason",
    "eventType",
    success=SUCCESS,
    recorded=BOOLEAN,
    reason=one_of("no event", "unknown campaign", "duplicate", "unverified"),
    eventType=TEXT,
)
RECOVERED = object_of(
    "Recovered",
    success=SUCCESS,
    **each(COUNT, "found", "recorded", "duplicates", "ignored"),
    resumedWebhooks=array(TEXT),
)
WEBHOOK_STATUS = named("WebhookStatus", one_of("active", "disabled"))
REGISTERED = object_of(
    "Registered",
    success=SUCCESS,
    webhook=object_of("RegisteredWebhook", id=TEXT, status=WEBHOOK_STATUS),
    **each(BOOLEAN, "created", "updated", "resumed"),
)
WEBHOOK_STATE = object_of("WebhookState", id=TEXT, status=WEBHOOK_STATUS, verified=BOOLEAN)
WEBHOOK_HEALTH = object_of(
    "WebhookHealth",
    webhooks=array(WEBHOOK_STATE),
    lastDeliveryAt=nullable(TIME),
    failedDeliveries=COUNT,
)

FEED = object_of("Feed", events=array(EVENT), nextCursor=TEXT)

MESSAGE = object_of(
    "Message",
    direction=one_of(*DIRECTIONS.values()),
    step=nullable(STEP),
    **each(nullable(TEXT), "subject", "text", "html", "accountEmail"),
    at=TIME,
)
ONE_LEAD = object_of("OneLead", lead=LEAD, facts=ADDRESS_STATUS, messages=array(MESSAGE))
