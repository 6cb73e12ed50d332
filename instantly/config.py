"""The settings of the service, read once from the environment."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

SERVICE_NAME = "instantly-service"
VERSION = version(SERVICE_NAME)
USER_AGENT = f"{SERVICE_NAME}/{VERSION}"


class ConfigurationError(Exception):
    """The environment lacks variables or holds malformed ones; the message names all of them."""


def secret(text: str) -> str:
    """A key that can travel in a header: printable ASCII without blanks."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be printable ASCII without blanks")
    return text


def http_url(text: str) -> str:
    """A base URL, without the trailing slash."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if (
        not re.fullmatch(r"https?://[!-~]+", text)
        or not parts.hostname
        or "@" in parts.netloc  # requests would put it in place of our own Authorization
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be an http:// or https:// URL")
    return text.rstrip("/")


def postgres_url(text: str) -> str:
    """A connection string as libpq takes it."""
    try:
        ports = str(conninfo_to_dict(text).get("port", "5432")).split(",")
        well_formed = all(port.isdecimal() and 0 < int(port) < 65536 for port in ports)
    except ProgrammingError:
        well_formed = False
    if not well_formed:
        # Not the driver's message: it would repeat the password.
        raise ValueError("must be a postgresql:// URL")
    return text


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def log_level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def domains(text: str) -> tuple[str, ...]:
    found = tuple(domain for part in text.split(",") if (domain := part.strip().lower()))
    if not all(re.fullmatch(r"[^\W_]([\w.-]*[^\W_])?", domain) for domain in found):
        raise ValueError("must be domains with commas between them")
    return found


def variable(
    name: str, parse: Callable[[str], Any], default: Any = None, *, required: bool = False
) -> Any:
    """One setting: its environment variable, how to read it, and its default."""
    metadata = {"name": name, "parse": parse, "required": required}
    hidden = parse in (secret, postgres_url, http_url)
    if required:
        return field(metadata=metadata, repr=not hidden)
    return field(default=default, metadata=metadata, repr=not hidden)


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = variable("INSTANTLY_SERVICE_DATABASE_URL", postgres_url, required=True)
    api_key: str = variable("INSTANTLY_SERVICE_API_KEY", secret, required=True)
    key_service_url: str = variable("KEY_SERVICE_URL", http_url, required=True)
    key_service_api_key: str = variable("KEY_SERVICE_API_KEY", secret, required=True)
    runs_service_url: str = variable("RUNS_SERVICE_URL", http_url, required=True)
    runs_service_api_key: str = variable("RUNS_SERVICE_API_KEY", secret, required=True)
    webhook_base_url: str | None = variable("WEBHOOK_BASE_URL", http_url)
    port: int = variable("PORT", whole_number(1, 65535), 3011)
    instantly_api_url: str = variable("INSTANTLY_API_URL", http_url, "https://api.instantly.ai")
    stats_excluded_domains: tuple[str, ...] = variable("STATS_EXCLUDED_DOMAINS", domains, ())
    database_pool_size: int = variable("DATABASE_POOL_SIZE", whole_number(1, 200), 8)
    log_level: str = variable("LOG_LEVEL", log_level, "INFO")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads every setting; raises one ConfigurationError that names all that are wrong.

        A variable that is set to nothing counts as not set.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, setting in cls.__dataclass_fields__.items():
            text = environment.get(setting.metadata["name"], "").strip()
            if not text:
                if setting.metadata["required"]:
                    problems.append(f"{setting.metadata['name']} is missing")
                continue
            try:
                values[name] = setting.metadata["parse"](text)
            except ValueError as error:
                problems.append(f"{setting.metadata['name']} {error}")
        if problems:
            raise ConfigurationError("Configuration: " + "; ".join(problems))
        return cls(**values)
