"""runs-service: every billable act is a run with costs."""

from uuid import UUID

from instantly.clients.http import ServiceClient, UpstreamError
from instantly.config import SERVICE_NAME

READ_TIMEOUT_SECONDS = 10


class RunsServiceError(UpstreamError):
    """runs-service did not log what it was asked to."""


class RunsServiceClient(ServiceClient):
    service = "runs-service"
    error = RunsServiceError

    def __init__(self, base_url: str, api_key: str, certificates: str | None = None) -> None:
        headers = {"X-API-Key": api_key}
        super().__init__(base_url, headers, READ_TIMEOUT_SECONDS, certificates)

    def create_run(
        self,
        *,
        task_name: str,
        clerk_org_id: str,
        app_id: str,
        brand_id: str,
        campaign_id: str | None = None,
        parent_run_id: UUID | str | None = None,
    ) -> str:
        """Opens a run and returns its id (uuid). Never repeated: a second run would stay open."""
        body = {
            "clerkOrgId": clerk_org_id,
            "appId": app_id,
            "serviceName": SERVICE_NAME,
            "taskName": task_name,
            "brandId": brand_id,
        }
        if campaign_id:
            body["campaignId"] = campaign_id
        if parent_run_id:
            body["parentRunId"] = str(parent_run_id)
        answer = self._request("POST", "/v1/runs", body=body, repeatable=False).body
        try:
            return str(UUID(answer["id"]))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise RunsServiceError("the answer holds no run id") from error

    def add_costs(self, run_id: str, cost_name: str, quantity: int) -> None:
        """Bills `quantity` times the cost to the run. Never repeated: it would bill twice."""
        items = [{"costName": cost_name, "quantity": quantity}]
        body = {"items": items}
        self._request("POST", "/v1/runs/{id}/costs", run_id, body=body, repeatable=False)

    def end_run(self, run_id: str, status: str, error: str | None = None) -> None:
        """Ends the run as `completed` or `failed`."""
        body = {"status": status} if error is None else {"status": status, "error": error}
        path = "/v1/runs/{id}"
        self._request("PATCH", path, run_id, body=body, repeatable=True, may_be_empty=True)
