"""key-service: who may act at Instantly, and with which key."""

import re

from instantly.clients.http import ServiceClient, UpstreamError

READ_TIMEOUT_SECONDS = 10
APP_ID = "instantly-service"
# What web frameworks and routers say of a path that they do not know.
WORDS_OF_ROUTERS = {"statusCode", "status", "path"}


class KeyServiceError(UpstreamError):
    """key-service gave no key, for no fault of the organisation."""


class OrganizationKeyMissing(KeyServiceError):
    """The organisation has not brought an Instantly key."""


class AppKeyMissing(KeyServiceError):
    """The shared key of this service is not set up."""


class KeyServiceClient(ServiceClient):
    service = "key-service"
    error = KeyServiceError

    def __init__(self, base_url: str, api_key: str, certificates: str | None = None) -> None:
        headers = {"x-api-key": api_key, "X-Caller-Service": "instantly"}
        super().__init__(base_url, headers, READ_TIMEOUT_SECONDS, certificates)

    def decrypt_organization_key(
        self, clerk_org_id: str, *, caller_method: str, caller_path: str
    ) -> str:
        """The organisation's own key; raises OrganizationKeyMissing when it has none."""
        try:
            return self._decrypt("keys", "clerkOrgId", clerk_org_id, caller_method, caller_path)
        except KeyServiceError as error:
            if is_missing_key(error):
                raise OrganizationKeyMissing(error.message, error.status) from error
            raise

    def decrypt_app_key(self, *, caller_method: str, caller_path: str) -> str:
        """The shared key of this service; raises AppKeyMissing when there is none."""
        try:
            return self._decrypt("app-keys", "appId", APP_ID, caller_method, caller_path)
        except KeyServiceError as error:
            if is_missing_key(error):
                raise AppKeyMissing(error.message, error.status) from error
            raise

    def _decrypt(self, kind: str, name: str, value: str, method: str, path: str) -> str:
        answer = self._request(
            "GET",
            f"/internal/{kind}/instantly/decrypt",
            params={name: value},
            headers={"X-Caller-Method": method, "X-Caller-Path": path},
            repeatable=True,
        ).body
        key = answer.get("key") if isinstance(answer, dict) else None
        # It was pasted by somebody, maybe with a line break at its end, and goes into a header:
        # anything but visible ASCII is no key.
        if not isinstance(key, str) or not re.fullmatch(r"[!-~]+", key.strip()):
            raise KeyServiceError("the answer holds no key")
        return key.strip()


def is_missing_key(error: UpstreamError) -> bool:
    """Whether key-service itself says so, `{"error": …}`; any other 404 means a moved route."""
    body = error.body
    return (
        error.status == 404
        and isinstance(body, dict)
        and isinstance(body.get("error"), str)
        and not WORDS_OF_ROUTERS & body.keys()
    )
