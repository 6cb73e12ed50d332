"""What one call looks like from the other side."""

import responses
from responses.matchers import header_matcher, query_param_matcher

from instantly.clients.keys import KeyServiceClient
from instantly.config import USER_AGENT

BASE = "https://service.example"


@responses.activate
def test_an_organisation_is_named_in_the_query_whatever_it_is_called() -> None:
    responses.get(
        f"{BASE}/internal/keys/instantly/decrypt",
        json={"provider": "instantly", "key": "theirs"},
        match=[
            query_param_matcher({"clerkOrgId": "a&b=c d/é"}),
            header_matcher({"x-api-key": "ours", "User-Agent": USER_AGENT}),
        ],
    )
    client = KeyServiceClient(BASE, "ours")
    key = client.decrypt_organization_key("a&b=c d/é", caller_method="GET", caller_path="/x")
    assert key == "theirs"
