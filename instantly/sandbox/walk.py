"""The curl walk that `python app.py` prints, ready to paste."""

from collections.abc import Mapping

WALK = """\
# Try it: paste this into another terminal.
API={url}; AUTH='X-API-Key: {service_key}'; JSON='Content-Type: application/json'

# A campaign with two steps (org_acme has brought a key; org_initech has not: 422).
curl -sS $API/campaigns -H "$AUTH" -H "$JSON" -d '{{
  "orgId": "org_acme", "clerkOrgId": "org_acme", "brandId": "brand_1", "appId": "app_1",
  "name": "Autumn outreach",
  "accountIds": ["lena@try-northbeam.example"],
  "sequence": [
    {{"subject": "Hello {{{{firstName}}}}", "bodyHtml": "Hi {{{{firstName}}}},\\n\\nten minutes?"}},
    {{"subject": "Re: Hello", "bodyHtml": "<p>Any thoughts?</p>", "daysSinceLastStep": 3}}
  ]}}' | tee /tmp/campaign.json
ID=$(python3 -c 'import json; print(json.load(open("/tmp/campaign.json"))["campaign"]["id"])')

# Leads: what the campaign holds already is neither sent nor billed again.
curl -sS $API/campaigns/$ID/leads -H "$AUTH" -H "$JSON" -d '{{
  "orgId": "org_acme",
  "leads": [
    {{"email": "ada@example.com", "firstName": "Ada", "companyName": "Engines Ltd"}},
    {{"email": "grace@example.com", "customVariables": {{"city": "Arlington"}}}},
    {{"email": "ADA@example.com"}}
  ]}}'

# Start it, and look.
curl -sS -X PATCH $API/campaigns/$ID/status -H "$AUTH" -H "$JSON" -d '{{"status": "active"}}'
curl -sS "$API/campaigns/$ID/leads?limit=10" -H "$AUTH"
curl -sS "$API/campaigns/by-org/org_acme" -H "$AUTH"

# A few seconds later the events of its e-mails have arrived.
sleep 3
curl -sS $API/stats -H "$AUTH" -H "$JSON" -d '{{"brandId": "brand_1"}}'
curl -sS $API/campaigns/$ID/analytics -H "$AUTH"

# The sender accounts, and the warmup of one of them.
curl -sS -X POST $API/accounts/sync -H "$AUTH"
LENA=lena@try-northbeam.example
curl -sS $API/accounts/$LENA/warmup -H "$AUTH" -H "$JSON" -d '{{"enabled": true}}'
curl -sS "$API/accounts/warmup-analytics?emails=$LENA" -H "$AUTH"
"""

RUNS = """
# The runs and costs that were logged.
curl -sS {runs_url}/v1/runs -H 'X-API-Key: {runs_key}'
"""


def curl_walk(environment: Mapping[str, str], url: str) -> str:
    values = {
        "url": url,
        "service_key": environment["INSTANTLY_SERVICE_API_KEY"],
        "runs_url": environment["RUNS_SERVICE_URL"],
        "runs_key": environment["RUNS_SERVICE_API_KEY"],
    }
    return (WALK + RUNS).format(**values)
