"""/openapi.json makes a working client, typed, with names that one would have chosen."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from harness import PROGRAMS
from jsonschema import Draft202012Validator
from world import API_KEY, World

JSON = "application/json"
# How generators call what has no name.
NAMELESS = re.compile(r"Response\d|Type\d|Body$")
with_the_generator = pytest.mark.skipif(
    find_spec("openapi_python_client") is None, reason="pip install -e '.[client]'"
)


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").get_json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_body_has_a_name(document: dict[str, Any]) -> None:
    """A shape is a constant in schemas/answers.py, and is called after it."""
    for path, method, operation in operations(document):
        contents = [response["content"] for response in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for content in contents:
            if JSON in content:
                assert list(content[JSON]["schema"]) == ["$ref"], (method, path)
    names = list(document["components"]["schemas"])
    assert {"Campaign", "Lead", "Account", "Error", "CreateCampaignRequest"} <= set(names)
    # The same name for two shapes gets a number.
    assert [name for name in names if not re.fullmatch("[A-Z][A-Za-z]+", name)] == []


def test_every_operation_has_an_id_of_its_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    parts: list[Any] = [document["paths"], document["components"]["schemas"]]
    examples = 0
    for part in parts:
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if isinstance(part, dict) and "example" in part:
            whole = {**part, "components": document["components"]}
            Draft202012Validator(whole).validate(part["example"])
            examples += 1
    assert examples >= 10


@pytest.fixture(scope="module")
def generated(
    session_app: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """The client's package, made from the document without a warning."""
    folder = tmp_path_factory.mktemp("generated")
    answer = session_app.test_client().get("/openapi.json")
    (folder / "openapi.json").write_text(answer.text)
    words = ["-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none"]
    done = subprocess.run(
        [sys.executable, *words, "--output-path", "outreach", "--fail-on-warning"],
        cwd=folder,
        env={**os.environ, "PATH": PROGRAMS},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield SimpleNamespace(
            models=importlib.import_module("outreach.models"),
            client=importlib.import_module("outreach.client").AuthenticatedClient,
            operation=lambda name: importlib.import_module(f"outreach.api.{name}"),
        )


@pytest.fixture
def caller(generated: SimpleNamespace, served: World) -> Iterator[Any]:
    with generated.client(
        base_url=served.client.url, token=API_KEY, prefix="", auth_header_name="X-API-Key"
    ) as client:
        yield client


def wanted(generated: SimpleNamespace, **changes: Any) -> Any:
    ids = {"org_id": "org-1", "clerk_org_id": "clerk-1", "brand_id": "b", "app_id": "a"}
    return generated.models.CreateCampaignRequest(**{**ids, "name": "Autumn", **changes})


@with_the_generator
def test_a_campaign_is_created_and_listed(
    generated: SimpleNamespace, caller: Any, served: World
) -> None:
    models = generated.models
    create = generated.operation("campaigns.create_campaign")
    metadata = models.CreateCampaignRequestMetadata.from_dict({"team": "north"})
    body = wanted(generated, metadata=metadata, sequence=[models.Step("Hello", "<p>Hi</p>")])
    created = create.sync(client=caller, body=body, idempotency_key="once")
    assert isinstance(created, models.CreatedCampaign)
    assert isinstance(created.campaign.id, UUID)
    assert created.success is True
    again = create.sync(client=caller, body=body, idempotency_key="once")
    assert again == created

    page = generated.operation("campaigns.list_campaigns").sync("org-1", client=caller, limit=10)
    assert isinstance(page, models.Campaigns)
    (campaign,) = page.campaigns
    assert isinstance(campaign, models.Campaign)
    assert campaign.id == created.campaign.id
    assert campaign.status == models.CampaignStatus.DRAFT
    assert isinstance(campaign.created_at, datetime)
    assert campaign.metadata.to_dict() == {"team": "north"}
    assert (page.total, page.next_cursor, campaign.parent_run_id) == (1, None, None)
    one = generated.operation("campaigns.get_campaign").sync(campaign.id, client=caller)
    assert one == models.OneCampaign(campaign)


@with_the_generator
def test_leads_are_added_listed_and_deleted(
    generated: SimpleNamespace, caller: Any, served: World
) -> None:
    models = generated.models
    campaign_id = UUID(served.created()["id"])
    leads = [models.NewLead("ada@example.com", first_name="Ada"), models.NewLead("ADA@example.com")]
    added = generated.operation("leads.add_leads").sync(
        campaign_id, client=caller, body=models.AddLeadsRequest("org-1", leads)
    )
    assert (added.added, added.duplicates) == (1, 1)
    page = generated.operation("leads.list_leads").sync(campaign_id, client=caller)
    assert [(lead.first_name, lead.last_name) for lead in page.leads] == [("Ada", None)]
    assert page.leads[0].status == models.LeadState.ACTIVE
    deleted = generated.operation("leads.delete_leads").sync(
        campaign_id, client=caller, body=models.DeleteLeadsRequest(["ada@example.com"])
    )
    assert deleted == models.DeletedLeads(success=True, deleted=1, not_found=[])


@with_the_generator
def test_an_error_is_read_typed(generated: SimpleNamespace, caller: Any, served: World) -> None:
    models = generated.models
    create = generated.operation("campaigns.create_campaign")
    malformed = create.sync_detailed(client=caller, body=wanted(generated, name=""))
    assert (malformed.status_code, malformed.parsed.error) == (400, "Invalid request")
    assert isinstance(malformed.parsed.details, models.ErrorDetails)
    assert list(malformed.parsed.details.to_dict()) == ["name"]
    refused = create.sync_detailed(client=caller, body=wanted(generated, clerk_org_id="nobody"))
    assert refused.status_code == 422
    assert refused.parsed == models.Error("BYOK key not configured for this organization")


@with_the_generator
def test_no_name_is_made_up(generated: SimpleNamespace) -> None:
    assert [name for name in generated.models.__all__ if NAMELESS.search(name)] == []
