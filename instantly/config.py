"""The settings of the service, read once from the environment."""

import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from instantly import __version__
from instantly.addresses import same_address

SERVICE_NAME = "instantly-service"
VERSION = __version__
USER_AGENT = f"{SERVICE_NAME}/{VERSION}"
NO_URL = "must be a postgresql:// URL"


class ConfigurationError(Exception):
    """The environment lacks variables or holds malformed ones; the message names all of them."""


def secret(text: str) -> str:
    """A key that can travel in a header: printable ASCII without blanks."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be printable ASCII without blanks")
    return text


def api_keys(text: str) -> tuple[str, ...]:
    """One key, or two while callers move from one to the other."""
    keys = tuple(part.strip() for part in text.split(","))
    if len(keys) > 2 or not all(re.fullmatch(r"[!-~]+", key) for key in keys):
        raise ValueError(
            "must be one key, or two with a comma between, of printable ASCII without blanks"
        )
    return keys


def http_url(text: str) -> str:
    """A base URL, without the trailing slash."""
    with suppress(ValueError):  # its message would repeat parts of the URL
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # a malformed port raises only when it is read
        # requests would put a user in the URL in place of our own Authorization.
        is_base = not ("@" in url.netloc or url.query or url.fragment)
        if host and is_base and re.fullmatch(r"https?://[!-~]+", text):
            return text.rstrip("/")
    raise ValueError("must be an http:// or https:// URL")


def postgres_url(text: str) -> str:
    """A connection string as libpq takes it; no message repeats any of it but parameters' names."""
    try:
        parameters = conninfo_to_dict(text)
    except ProgrammingError as error:
        unknown = re.search(r'(?:query parameter: |connection option )"(\w+)"', str(error))
        message = f"has a parameter that libpq does not know: {unknown[1]}" if unknown else NO_URL
        raise ValueError(message) from None
    if "@" in str(parameters.get("host", "")):
        raise ValueError("has an @ in its host: write that of a user or password as %40")
    ports = str(parameters.get("port", "5432")).split(",")
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ValueError(NO_URL)
    if wrong := wrong_parameter(parameters):
        raise ValueError(f"has a {wrong} that libpq does not take")
    return text


def wrong_parameter(parameters: Mapping[str, Any]) -> str | None:
    """The name of one whose value would keep every connection from being made."""
    for name, value in parameters.items():
        if name.startswith(("connect_timeout", "keepalives", "tcp_")):
            if not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
                return name
    root = parameters.get("sslrootcert", "system")
    if root != "system" and not Path(str(root)).exists():
        return "sslrootcert"
    # libpq looks at all values before it connects, which fails at once on a socket of no server.
    nowhere = {"host": "/nonexistent", "hostaddr": None, "port": None}
    attempt = PGconn.connect_start(make_conninfo(**{**parameters, **nowhere}).encode())
    refused = re.match(r'invalid "?(\w+)"? value', attempt.error_message.decode(errors="replace"))
    attempt.finish()
    return refused[1] if refused else None


def integer_between(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def log_level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def certificates(text: str) -> str:
    """A file of certificates (PEM), or a folder of them as OpenSSL's rehash lays it out."""
    with suppress(OSError):  # ssl.SSLError is one
        if Path(text).is_dir():
            return text
        ssl.create_default_context(cafile=text)
        return text
    raise ValueError("must be a file of certificates (PEM) or a folder of them")


def domains_and_addresses(text: str) -> tuple[str, ...]:
    names = tuple(name for part in text.split(",") if (name := same_address(part)))
    if not all(re.fullmatch(r"([^\s@]+@)?[^\W_]([\w.-]*[^\W_])?", name) for name in names):
        raise ValueError("must be domains or whole addresses with commas between them")
    return names


def webhook_secrets(text: str) -> tuple[str, ...]:
    """One secret, or two while one takes the other's place.

    The route that asks for it is open to everybody, so it must be too long to be guessed; a header
    that is too long is refused before it gets there.
    """
    secrets = tuple(part.strip() for part in text.split(","))
    if len(secrets) > 2 or not all(re.fullmatch(r"[!-~]{16,255}", each) for each in secrets):
        raise ValueError(
            "must be one value, or two with a comma between, each of 16 to 255 characters of"
            " printable ASCII without blanks"
        )
    return secrets


def variable(name: str, parse: Callable[[str], Any], default: Any = MISSING) -> Any:
    """One setting: its environment variable, how to read it, and its default, if it has one."""
    is_shown = parse not in (secret, api_keys, webhook_secrets, postgres_url, http_url)
    return field(default=default, repr=is_shown, metadata={"variable": name, "parse": parse})


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = variable("INSTANTLY_SERVICE_DATABASE_URL", postgres_url)
    api_keys: tuple[str, ...] = variable("INSTANTLY_SERVICE_API_KEY", api_keys)
    key_service_url: str = variable("KEY_SERVICE_URL", http_url)
    key_service_api_key: str = variable("KEY_SERVICE_API_KEY", secret)
    runs_service_url: str = variable("RUNS_SERVICE_URL", http_url)
    runs_service_api_key: str = variable("RUNS_SERVICE_API_KEY", secret)
    webhook_base_url: str | None = variable("WEBHOOK_BASE_URL", http_url, None)
    webhook_secrets: tuple[str, ...] = variable("INSTANTLY_WEBHOOK_SECRET", webhook_secrets, ())
    port: int = variable("PORT", integer_between(1, 65535), 3011)
    instantly_api_url: str = variable("INSTANTLY_API_URL", http_url, "https://api.instantly.ai")
    stats_excluded: tuple[str, ...] = variable("STATS_EXCLUDED_DOMAINS", domains_and_addresses, ())
    database_pool_size: int = variable("DATABASE_POOL_SIZE", integer_between(1, 200), 8)
    database_prepared_statements: bool = variable("DATABASE_PREPARED_STATEMENTS", switch, True)
    keep_alive_seconds: int = variable("KEEP_ALIVE_SECONDS", integer_between(5, 3600), 100)
    requests_ca_bundle: str | None = variable("REQUESTS_CA_BUNDLE", certificates, None)
    ssl_cert_file: str | None = variable("SSL_CERT_FILE", certificates, None)
    log_level: str = variable("LOG_LEVEL", log_level, "INFO")

    @property
    def trusted_certificates(self) -> str | None:
        """What calls to other services trust; None for the public authorities of `certifi`."""
        return self.requests_ca_bundle or self.ssl_cert_file

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads every setting; raises one ConfigurationError that names all that are wrong.

        A variable that is set to nothing counts as not set.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for setting in fields(cls):
            name = setting.metadata["variable"]
            text = environment.get(name, "").strip()
            try:
                if text:
                    values[setting.name] = setting.metadata["parse"](text)
                elif setting.default is MISSING:
                    raise ValueError("is missing")
            except ValueError as error:
                problems.append(f"{name} {error}")
        if problems:
            raise ConfigurationError("Configuration: " + "; ".join(problems))
        return cls(**values)
