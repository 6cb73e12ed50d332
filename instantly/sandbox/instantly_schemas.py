"""What Instantly's API V2 takes and answers, in the operations that are used or played here.

The facts are those of the official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json,
August 2026), written down again as compact JSON schemas; a test compares the two wherever the
document is at hand. An open body or query declares here only what the stand-in acts upon, so that
the strict check refuses the rest.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from instantly.timezones import INSTANTLY_TIMEZONES

Schema = dict[str, Any]

# Building blocks


def nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def one_of(schema: Schema, *values: object) -> Schema:
    return {**schema, "enum": list(values)}


def text(format_name: str) -> Schema:
    return {"type": "string", "format": format_name}


def array(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def obj(properties: Mapping[str, Schema], required: str = "", **more: Any) -> Schema:
    """An object; `required` holds its required names, separated by spaces."""
    return {"type": "object", "properties": {**properties}, "required": required.split(), **more}


def closed(properties: Mapping[str, Schema], required: str = "", **more: Any) -> Schema:
    """An object that may hold nothing but these properties."""
    return obj(properties, required, additionalProperties=False, **more)


def each(names: str, schema: Schema) -> dict[str, Schema]:
    """The same schema for several names, separated by spaces."""
    return dict.fromkeys(names.split(), schema)


def map_of(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def page_of(items: Schema) -> Schema:
    return closed({"items": array(items), "next_starting_after": STRING}, "items")


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
NOTHING: Schema = {"type": "null"}
DATE = text("date")
MOMENT = text("date-time")
EMAIL = text("email")
OPTIONAL_STRING = nullable(STRING)
OPTIONAL_NUMBER = nullable(NUMBER)
OPTIONAL_BOOLEAN = nullable(BOOLEAN)
OPTIONAL_MOMENT = nullable(MOMENT)
TIME_OF_DAY: Schema = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):([0-5][0-9])$"}

# Campaigns

SCHEDULE = obj(
    {
        "name": STRING,
        "timing": obj({"from": TIME_OF_DAY, "to": TIME_OF_DAY}, "from to"),
        "days": obj(each("0 1 2 3 4 5 6", BOOLEAN), minProperties=1),
        "timezone": one_of(STRING, *INSTANTLY_TIMEZONES),
    },
    "name timing days timezone",
)
STEP = obj(
    {
        "type": one_of(STRING, "email"),
        **each("delay pre_delay", NUMBER),
        **each("delay_unit pre_delay_unit", one_of(STRING, "minutes", "hours", "days")),
        "variants": array(
            obj({"subject": STRING, "body": STRING, "v_disabled": BOOLEAN}, "subject body")
        ),
    },
    "type delay variants",
)
CAMPAIGN_FIELDS = {
    "name": STRING,
    "campaign_schedule": obj(
        {
            **each("start_date end_date", nullable(DATE)),
            "schedules": array(SCHEDULE, minItems=1),
        },
        "schedules",
    ),
    "sequences": array(obj({"steps": array(STEP)}, "steps")),
    **each("email_list email_tag_list", array(STRING)),
    **each("cc_list bcc_list", array(EMAIL)),
    **each("pl_value email_gap random_wait_max daily_limit", OPTIONAL_NUMBER),
    "daily_max_leads": {**nullable(INTEGER), "minimum": 0},
    "open_tracking": BOOLEAN,
    **each(
        "is_evergreen text_only first_email_text_only stop_on_reply stop_on_auto_reply "
        "stop_for_company link_tracking prioritize_new_leads match_lead_esp "
        "insert_unsubscribe_header allow_risky_contacts disable_bounce_protect",
        OPTIONAL_BOOLEAN,
    ),
    "owned_by": OPTIONAL_STRING,
    "auto_variant_select": nullable(
        obj({"trigger": one_of(STRING, "reply_rate", "click_rate", "open_rate")}, "trigger")
    ),
    "limit_emails_per_company_override": nullable(
        obj(
            {
                "mode": one_of(STRING, "custom", "disabled"),
                "daily_limit": {**NUMBER, "minimum": 1},
                "scope": one_of(STRING, "per_campaign", "across_workspace"),
            },
            "mode",
        )
    ),
    "provider_routing_rules": {
        **array(
            obj(
                {
                    "action": one_of(STRING, "send", "do_not_send"),
                    **each(
                        "recipient_esp sender_esp",
                        array(one_of(STRING, "all", "google", "outlook", "other")),
                    ),
                }
            )
        ),
        # On the array, where it asks for nothing: so it stands in the document.
        "required": ["action", "recipient_esp", "sender_esp"],
    },
}
CREATED_CAMPAIGN_FIELDS = {**CAMPAIGN_FIELDS, "ai_sdr_id": OPTIONAL_STRING}
CAMPAIGN = closed(
    {
        **CREATED_CAMPAIGN_FIELDS,
        **each("id timestamp_created timestamp_updated", STRING),
        "organization": OPTIONAL_STRING,
        "status": one_of(NUMBER, 0, 1, 2, 3, 4, -1, -2, -99),
        "not_sending_status": one_of(OPTIONAL_NUMBER, 1, 2, 3, 4, 99),
    },
    "id name status campaign_schedule timestamp_created timestamp_updated",
)
ANALYTICS_COUNTS = (
    "leads_count contacted_count emails_sent_count new_leads_contacted_count open_count "
    "reply_count link_click_count bounced_count unsubscribed_count completed_count "
    "total_opportunities"
)
OPTIONAL_ANALYTICS_COUNTS = (
    "open_count_unique reply_count_unique reply_count_automatic reply_count_automatic_unique "
    "link_click_count_unique"
)
CAMPAIGN_ANALYTICS = obj(
    {
        **each("campaign_id campaign_name", STRING),
        "campaign_status": NUMBER,
        "campaign_is_evergreen": BOOLEAN,
        **each(ANALYTICS_COUNTS, INTEGER),
        **each(OPTIONAL_ANALYTICS_COUNTS, INTEGER),
        "total_opportunity_value": NUMBER,
    },
    f"campaign_id campaign_name campaign_status campaign_is_evergreen {ANALYTICS_COUNTS} "
    "total_opportunity_value",
)

# Leads

LEAD_STATUS = one_of(NUMBER, 1, 2, 3, -1, -2, -3)
LEAD_TEXTS = each(
    "email first_name last_name company_name job_title phone website personalization "
    "pl_value_lead assigned_to",
    OPTIONAL_STRING,
)
INTEREST = one_of(NUMBER, 0, 1, 2, 3, 4, -1, -2, -3, -4)
ADDED_LEAD = closed(
    {
        **LEAD_TEXTS,
        "lt_interest_status": INTEREST,
        "custom_variables": map_of({"type": ["string", "number", "boolean", "null"]}),
    }
)
LEAD = closed(
    {
        **LEAD_TEXTS,
        **each("id organization company_domain", STRING),
        **each("campaign list_id last_contacted_from", OPTIONAL_STRING),
        "status": LEAD_STATUS,
        "lt_interest_status": INTEREST,
        "upload_method": one_of(STRING, "manual", "api", "website-visitor"),
        "payload": nullable(
            obj(
                each(
                    "firstName lastName companyName jobTitle phone website personalization", STRING
                ),
                additionalProperties={"type": ["string", "number", "boolean", "object", "null"]},
            )
        ),
        "status_summary": obj(
            {"lastStep": obj({"from": STRING, "stepID": STRING, "timestamp_executed": MOMENT})}
        ),
        **each("email_open_count email_click_count email_reply_count", NUMBER),
        **each("email_opened_step email_clicked_step email_replied_step", OPTIONAL_NUMBER),
        **each("email_opened_variant email_clicked_variant email_replied_variant", OPTIONAL_NUMBER),
        **each("timestamp_created timestamp_updated", MOMENT),
        **each(
            "timestamp_last_contact timestamp_last_open timestamp_last_click timestamp_last_reply "
            "timestamp_last_interest_change",
            OPTIONAL_MOMENT,
        ),
    },
    "id timestamp_created timestamp_updated organization status email_open_count email_reply_count "
    "email_click_count company_domain status_summary",
)
ADDED_LEADS_COUNTS = (
    "total_sent leads_uploaded in_blocklist duplicated_leads duplicate_email_count skipped_count "
    "invalid_email_count incomplete_count"
)
ADDED_LEADS = obj(
    {
        "status": STRING,
        **each(ADDED_LEADS_COUNTS, INTEGER),
        "blocklist_used": OPTIONAL_STRING,
        "remaining_in_plan": nullable(INTEGER),
        "created_leads": array(
            obj({"index": INTEGER, "id": STRING, "email": OPTIONAL_STRING}, "index id")
        ),
    },
    f"status {ADDED_LEADS_COUNTS} blocklist_used remaining_in_plan created_leads",
)

# Accounts

ACCOUNT_STATUS = one_of(NUMBER, 1, 2, 3, -1, -2, -3)
PROVIDER_CODE = one_of(NUMBER, 1, 2, 3, 4, 8, 11)
ACCOUNT = closed(
    {
        "email": EMAIL,
        **each("first_name last_name organization", STRING),
        "status": ACCOUNT_STATUS,
        "warmup_status": one_of(NUMBER, 0, 1, -1, -2, -3),
        "warmup": obj({"limit": NUMBER, "reply_rate": NUMBER}),
        "provider_code": PROVIDER_CODE,
        **each("setup_pending is_managed_account", BOOLEAN),
        **each("daily_limit stat_warmup_score", OPTIONAL_NUMBER),
        "sending_gap": {**NUMBER, "minimum": 0, "maximum": 1440},
        **each("timestamp_created timestamp_updated", MOMENT),
        "timestamp_warmup_start": OPTIONAL_MOMENT,
    },
    "email timestamp_created timestamp_updated first_name last_name organization warmup_status "
    "provider_code setup_pending is_managed_account",
)
WARMUP_CHANGE = obj({"emails": array(STRING, maxItems=100)})
WARMUP_COUNTS = each("sent landed_inbox landed_spam received", NUMBER)
WARMUP_ANALYTICS = obj(
    {
        "email_date_data": map_of(map_of(obj(WARMUP_COUNTS))),
        "aggregate_data": map_of(
            obj({**WARMUP_COUNTS, "health_score": NUMBER, "health_score_label": STRING})
        ),
    }
)
JOB_TYPES = (
    "move-leads import-leads export-leads update-warmup-accounts rename-variable "
    "broadcast-ai-generate broadcast-website-scrape import-subscribers-from-crm "
    "resync-subscriber-crm-tags"
)
JOB_STATUSES = "pending in-progress success failed draining paused cancelled"
BACKGROUND_JOB = closed(
    {
        **each("id workspace_id created_at updated_at", STRING),
        "type": one_of(STRING, *JOB_TYPES.split()),
        "status": one_of(STRING, *JOB_STATUSES.split()),
        "progress": {**NUMBER, "minimum": 0, "maximum": 100},
    },
    "id workspace_id type progress status created_at updated_at",
)

# Webhooks

LISTABLE_EVENT_TYPES = (
    "all_events email_sent email_opened email_link_clicked reply_received email_bounced "
    "lead_unsubscribed campaign_completed account_error lead_neutral lead_interested "
    "lead_not_interested lead_meeting_booked lead_meeting_completed lead_closed "
    "lead_out_of_office lead_wrong_person"
).split()
EVENT_TYPES = [*LISTABLE_EVENT_TYPES, "lead_no_show", "supersearch_enrichment_completed"]
WEBHOOK_FIELDS = {
    "target_hook_url": {**text("uri"), "pattern": "^https?://"},
    "event_type": one_of(OPTIONAL_STRING, *EVENT_TYPES),
    **each("campaign name", OPTIONAL_STRING),
    "custom_interest_value": OPTIONAL_NUMBER,
    "headers": nullable(map_of(STRING)),
}
WEBHOOK = closed(
    {
        **WEBHOOK_FIELDS,
        **each("id organization", STRING),
        "status": OPTIONAL_NUMBER,
        "timestamp_created": MOMENT,
        "timestamp_error": OPTIONAL_MOMENT,
    },
    "id organization target_hook_url timestamp_created",
)
WEBHOOK_EVENT = closed(
    {
        **each("id organization_id webhook_url", STRING),
        "timestamp_created": MOMENT,
        "timestamp_created_date": DATE,
        "payload": {"type": "object"},
        **each("success will_retry", BOOLEAN),
        "retry_count": NUMBER,
        **each("status_code response_time_ms", OPTIONAL_NUMBER),
        **each("error_message retry_group_id lead_email", OPTIONAL_STRING),
        "retry_successful": OPTIONAL_BOOLEAN,
        "timestamp_next_retry": OPTIONAL_MOMENT,
    },
    "id timestamp_created timestamp_created_date organization_id success retry_count will_retry "
    "webhook_url",
)
WEBHOOK_TEST = obj(
    {
        "success": BOOLEAN,
        **each("message error", STRING),
        **each("response_time_ms status_code", NUMBER),
    }
)

# Operations


@dataclass(frozen=True)
class Operation:
    """One operation; `name` is the method of the stand-in that plays it."""

    name: str
    method: str
    path: str
    answer: Schema
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the decoded path; the group is the placeholder's value.

        Only an address may hold a slash (quoted on the wire).
        """
        pattern = re.escape(self.path).replace(r"\{id\}", "([^/]+)")
        return re.compile(pattern.replace(r"\{email\}", "([^/]+|.*@.*)"))

    def parameter(self, path: str) -> str | None:
        """The value in the path's placeholder, "" without a placeholder; None: another path."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        return match[1] if match.groups() else ""

    @property
    def takes_a_body(self) -> bool:
        return self.body is not None and self.body != NOTHING

    @property
    def identified_by_uuid(self) -> bool:
        """Job ids are no UUIDs, those of campaigns and webhooks are [seen in production]."""
        return "{id}" in self.path and "background-jobs" not in self.path


LIMIT: Schema = {**INTEGER, "minimum": 1, "maximum": 100}
PAGING = {"limit": LIMIT, "starting_after": STRING}
CAMPAIGNS = "/api/v2/campaigns"
LEADS = "/api/v2/leads"
ACCOUNTS = "/api/v2/accounts"
WEBHOOKS = "/api/v2/webhooks"

OPERATIONS = (
    Operation(
        "create_campaign",
        "POST",
        CAMPAIGNS,
        CAMPAIGN,
        body=closed(CREATED_CAMPAIGN_FIELDS, "name campaign_schedule"),
    ),
    # Before the operations with {id}, which would take "analytics" for an id.
    Operation(
        "get_campaign_analytics",
        "GET",
        CAMPAIGNS + "/analytics",
        array(CAMPAIGN_ANALYTICS),
        query={"id": STRING, "ids": array(STRING)},
    ),
    Operation("get_campaign", "GET", CAMPAIGNS + "/{id}", CAMPAIGN),
    Operation(
        "patch_campaign",
        "PATCH",
        CAMPAIGNS + "/{id}",
        CAMPAIGN,
        body=closed(CAMPAIGN_FIELDS, minProperties=1),
    ),
    Operation("delete_campaign", "DELETE", CAMPAIGNS + "/{id}", CAMPAIGN, body=NOTHING),
    Operation("activate_campaign", "POST", CAMPAIGNS + "/{id}/activate", CAMPAIGN),
    Operation("pause_campaign", "POST", CAMPAIGNS + "/{id}/pause", CAMPAIGN),
    Operation(
        "add_leads",
        "POST",
        LEADS + "/add",
        ADDED_LEADS,
        body=obj(
            {
                "campaign_id": STRING,
                "list_id": STRING,
                "leads": array(ADDED_LEAD, minItems=1, maxItems=1000),
                "skip_if_in_workspace": BOOLEAN,
                "skip_if_in_campaign": BOOLEAN,
            },
            "leads",
        ),
    ),
    Operation(
        "list_leads",
        "POST",
        LEADS + "/list",
        page_of(LEAD),
        body=obj(
            {
                **PAGING,
                "campaign": STRING,
                "list_id": STRING,
                "contacts": array(EMAIL),
                "ids": array(STRING),
                "excluded_ids": array(STRING),
                "search": STRING,
            }
        ),
    ),
    Operation(
        "delete_leads",
        "DELETE",
        LEADS,
        obj({"count": INTEGER}),
        body=obj(
            {
                "campaign_id": STRING,
                "list_id": STRING,
                "status": LEAD_STATUS,
                "ids": array(STRING),
                "limit": {**INTEGER, "minimum": 1, "maximum": 10000},
            },
            anyOf=[{"required": ["campaign_id"]}, {"required": ["list_id"]}],
        ),
    ),
    Operation(
        "list_accounts",
        "GET",
        ACCOUNTS,
        page_of(ACCOUNT),
        query={
            **PAGING,
            "search": STRING,
            "status": ACCOUNT_STATUS,
            "provider_code": PROVIDER_CODE,
            "sort_by": one_of(STRING, "timestamp_created", "email", "stat_warmup_score", "status"),
            "sort_order": one_of(STRING, "asc", "desc"),
        },
    ),
    Operation("get_account", "GET", ACCOUNTS + "/{email}", ACCOUNT),
    Operation(
        "enable_warmup", "POST", ACCOUNTS + "/warmup/enable", BACKGROUND_JOB, body=WARMUP_CHANGE
    ),
    Operation(
        "disable_warmup", "POST", ACCOUNTS + "/warmup/disable", BACKGROUND_JOB, body=WARMUP_CHANGE
    ),
    Operation(
        "get_warmup_analytics",
        "POST",
        ACCOUNTS + "/warmup-analytics",
        WARMUP_ANALYTICS,
        body=obj({"emails": array(STRING, minItems=1, maxItems=100)}, "emails"),
    ),
    Operation("get_background_job", "GET", "/api/v2/background-jobs/{id}", BACKGROUND_JOB),
    Operation(
        "list_webhooks",
        "GET",
        WEBHOOKS,
        page_of(WEBHOOK),
        query={**PAGING, "campaign": STRING, "event_type": one_of(STRING, *LISTABLE_EVENT_TYPES)},
    ),
    Operation(
        "create_webhook",
        "POST",
        WEBHOOKS,
        WEBHOOK,
        body=closed(WEBHOOK_FIELDS, "target_hook_url"),
    ),
    # Before get_webhook, which would take "event-types" for an id.
    Operation(
        "list_event_types",
        "GET",
        WEBHOOKS + "/event-types",
        obj({"event_types": array(obj({"id": STRING, "label": STRING, "type": STRING}))}),
    ),
    Operation("get_webhook", "GET", WEBHOOKS + "/{id}", WEBHOOK),
    Operation(
        "patch_webhook",
        "PATCH",
        WEBHOOKS + "/{id}",
        WEBHOOK,
        body=closed(WEBHOOK_FIELDS, minProperties=1),
    ),
    Operation("delete_webhook", "DELETE", WEBHOOKS + "/{id}", WEBHOOK, body=NOTHING),
    Operation("resume_webhook", "POST", WEBHOOKS + "/{id}/resume", WEBHOOK),
    Operation("test_webhook", "POST", WEBHOOKS + "/{id}/test", WEBHOOK_TEST),
    Operation(
        "list_webhook_events",
        "GET",
        "/api/v2/webhook-events",
        page_of(WEBHOOK_EVENT),
        query={**PAGING, "success": BOOLEAN, "from": DATE, "to": DATE, "search": STRING},
    ),
)


def find_operation(method: str, path: str) -> Operation | None:
    """The operation behind a method and a decoded path."""
    return next(
        (
            operation
            for operation in OPERATIONS
            if operation.method == method and operation.parameter(path) is not None
        ),
        None,
    )


# Checking

# `format: email` means ASCII in JSON Schema. The pattern is that of ajv-formats: Instantly's
# messages are those of Ajv.
ADDRESS = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
    re.IGNORECASE | re.ASCII,
)
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
ISO_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


def _is_email(value: object) -> bool:
    return not isinstance(value, str) or ADDRESS.fullmatch(value) is not None


def _is_date(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return ISO_DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or ISO_MOMENT.fullmatch(value) is not None


def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return bool(urlsplit(value).netloc) and not re.search(r"\s", value)


FORMATS = FormatChecker(formats=())
FORMATS.checks("email")(_is_email)
FORMATS.checks("date", raises=ValueError)(_is_date)
FORMATS.checks("date-time")(_is_moment)
FORMATS.checks("uri", raises=ValueError)(_is_uri)


def _validator(schema: Schema) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)


def _without_items_of_leads(schema: Schema) -> Schema:
    """The body of leads/add without the schema of its leads, which `_lead_errors` checks."""
    leads = {
        name: limit for name, limit in schema["properties"]["leads"].items() if name != "items"
    }
    return {**schema, "properties": {**schema["properties"], "leads": leads}}


BODY_VALIDATORS = {
    operation.name: _validator(
        _without_items_of_leads(operation.body) if operation.name == "add_leads" else operation.body
    )
    for operation in OPERATIONS
    if operation.body is not None
}
QUERY_VALIDATORS = {
    operation.name: _validator(obj(operation.query)) for operation in OPERATIONS if operation.query
}
ANSWER_VALIDATORS = {operation.name: _validator(operation.answer) for operation in OPERATIONS}
ADDED_LEAD_VALIDATOR = _validator(ADDED_LEAD)

# Ajv's wording of a violated keyword, which Instantly's messages show.
WORDING: dict[str, Callable[[Any], str]] = {
    "type": lambda types: f"must be {types if isinstance(types, str) else ','.join(types)}",
    "enum": lambda _: "must be equal to one of the allowed values",
    "minimum": lambda limit: f"must be >= {limit}",
    "maximum": lambda limit: f"must be <= {limit}",
    "minItems": lambda limit: f"must NOT have fewer than {limit} items",
    "maxItems": lambda limit: f"must NOT have more than {limit} items",
    "minProperties": lambda limit: f"must NOT have fewer than {limit} properties",
    "pattern": lambda pattern: f'must match pattern "{pattern}"',
    "format": lambda name: f'must match format "{name}"',
    "additionalProperties": lambda _: "must NOT have additional properties",
    "anyOf": lambda _: "must match a schema in anyOf",
}


def _messages(errors: Iterable[ValidationError], root: str) -> Iterator[str]:
    for error in errors:
        place = "/".join([root, *map(str, error.absolute_path)])
        if error.validator == "required":
            missing, _, _ = error.message.partition(" is a required property")
            yield f"{place} must have required property {missing}"
        else:
            yield f"{place} {WORDING[error.validator](error.validator_value)}"


PYTHON_TYPES: dict[str, set[type]] = {
    "string": {str},
    "number": {int, float},
    "boolean": {bool},
    "null": {type(None)},
}


def _python_types(schema: Schema) -> set[type]:
    return {python_type for name in schema["type"] for python_type in PYTHON_TYPES[name]}


PLAIN_LEAD_FIELDS = {name: _python_types(schema) for name, schema in LEAD_TEXTS.items()}
CUSTOM_VARIABLE_TYPES = _python_types(
    ADDED_LEAD["properties"]["custom_variables"]["additionalProperties"]
)


def _is_plainly_valid(lead: object) -> bool:
    """Whether a lead is valid at first sight; if not, jsonschema has the say.

    It takes 90 ms for 1,000 leads, which would hide how fast the service is.
    """
    if type(lead) is not dict:
        return False
    for name, value in lead.items():
        if name == "custom_variables":
            if type(value) is not dict:
                return False
            if not CUSTOM_VARIABLE_TYPES.issuperset(map(type, value.values())):
                return False
        elif type(value) not in PLAIN_LEAD_FIELDS.get(name, ()):
            return False
    return True


def _lead_errors(body: object) -> Iterator[str]:
    leads = body.get("leads") if isinstance(body, dict) else None
    for index, lead in enumerate(leads if isinstance(leads, list) else ()):
        if not _is_plainly_valid(lead):
            yield from _messages(ADDED_LEAD_VALIDATOR.iter_errors(lead), root=f"body/leads/{index}")


def _query_value(schema: Schema, values: list[str]) -> Any:
    """The value that the schema speaks of; a text where the query holds something else."""
    if schema["type"] == "array":
        return values
    value = values[-1]
    if schema["type"] == "boolean":
        return {"true": True, "false": False}.get(value, value)
    if schema["type"] in ("integer", "number") and re.fullmatch(r"-?\d{1,15}", value, re.ASCII):
        return int(value)
    return value


def parse_query(operation: Operation, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """The declared query values, typed; undeclared names are ignored as Instantly does."""
    return {
        name: _query_value(operation.query[name], values)
        for name, values in query.items()
        if name in operation.query
    }


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parse_body(body: bytes) -> Any:
    """The body as JSON, None when empty; ValueError when it is none."""
    return json.loads(body, parse_constant=_refuse_constant) if body else None


def refusals(
    operation: Operation, parameter: str, query: Mapping[str, Any], body: Any
) -> list[str]:
    """Why Instantly answers 400: what its document refuses, ids that are no UUID included."""
    found: list[str] = []
    if operation.identified_by_uuid and not _is_uuid(parameter):
        found.append('params/id must match format "uuid"')
    if operation.query:
        errors = QUERY_VALIDATORS[operation.name].iter_errors(dict(query))
        found.extend(_messages(errors, root="querystring"))
    if operation.body is not None:
        found.extend(_messages(BODY_VALIDATORS[operation.name].iter_errors(body), root="body"))
    if operation.name == "add_leads":
        found.extend(_lead_errors(body))
        # Not in the schema, but in the description of the operation.
        if isinstance(body, dict) and ("campaign_id" in body) == ("list_id" in body):
            found.append("body must have exactly one of 'campaign_id' and 'list_id'")
    return found


def _is_uuid(value: str) -> bool:
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False


# The CDN before Instantly answers 403 to these [Instantly's starter kit, seen in production].
LIBRARY_AGENTS = ("python-requests", "python-urllib", "python/", "urllib3", "python-httpx")


def is_refused_agent(user_agent: str | None) -> bool:
    """Whether the edge before Instantly refuses this User-Agent."""
    return not user_agent or user_agent.lower().startswith(LIBRARY_AGENTS)


def is_empty_json(content_type: str | None, body: bytes) -> bool:
    """A JSON content type without a body, which Instantly answers with 400 [several live users]."""
    return (content_type or "").lower().startswith("application/json") and not body


def _header(headers: Mapping[str, str], name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), None)


def check_request(
    method: str,
    path: str,
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    body: bytes,
) -> list[str]:
    """Everything that is wrong with a request to Instantly; empty when all is well.

    Stricter than Instantly: it also names what Instantly would ignore or obey to our harm.
    `path` is the decoded path, `query` holds the values of each name.
    """
    operation = find_operation(method, path)
    if operation is None:
        return [f"{method} {path} is no operation that the service uses"]
    try:
        parsed = parse_body(body)
    except ValueError:
        return ["body must be JSON"]
    parameter = operation.parameter(path) or ""
    return [
        *_transport_violations(operation, headers, body),
        *refusals(operation, parameter, parse_query(operation, query), parsed),
        *(f"querystring/{name} is not declared" for name in query if name not in operation.query),
        *_undeclared(operation.body or {}, parsed, "body"),
        *_dangers(operation, parsed),
    ]


def check_answer(method: str, path: str, answer: object) -> list[str]:
    """What is wrong with a successful answer of Instantly; for answers made up in tests."""
    operation = find_operation(method, path)
    if operation is None:
        return [f"{method} {path} is no operation that the service uses"]
    return list(_messages(ANSWER_VALIDATORS[operation.name].iter_errors(answer), root="answer"))


def _transport_violations(
    operation: Operation, headers: Mapping[str, str], body: bytes
) -> Iterator[str]:
    if is_refused_agent(_header(headers, "User-Agent")):
        yield "headers must have a User-Agent of our own"
    if not (_header(headers, "Authorization") or "").startswith("Bearer "):
        yield "headers must have 'Authorization: Bearer <key>'"
    if is_empty_json(_header(headers, "Content-Type"), body):
        yield "body cannot be empty when content-type is set to 'application/json'"
    if body and not operation.takes_a_body:
        yield "body must be empty"
    if body and not (_header(headers, "Content-Type") or "").startswith("application/json"):
        yield "headers must have 'Content-Type: application/json'"


def _undeclared(schema: Schema, value: object, place: str) -> Iterator[str]:
    """Names at any depth that the schema does not list: a misspelt filter is ignored silently."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _undeclared(schema.get("items", {}), item, f"{place}/{index}")
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            if name in schema["properties"]:
                yield from _undeclared(schema["properties"][name], item, f"{place}/{name}")
            elif "additionalProperties" not in schema:
                yield f"{place}/{name} is not declared"


def _dangers(operation: Operation, body: object) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    if operation.name == "delete_leads" and not body.get("ids"):
        yield "body/ids must not be empty: without ids the campaign is emptied"
    if operation.name == "list_leads":
        for name in ("contacts", "ids"):
            if body.get(name) == []:
                yield f"body/{name} must not be empty: it would not filter"
    if operation.name in ("enable_warmup", "disable_warmup") and not body.get("emails"):
        yield "body/emails must not be empty: no field is required, so nothing would be said"
    if operation.name == "add_leads" and "campaign_id" in body:
        leads = body.get("leads")
        for index, lead in enumerate(leads if isinstance(leads, list) else ()):
            if isinstance(lead, dict) and not lead.get("email"):
                yield f"body/leads/{index} must have an e-mail address"
