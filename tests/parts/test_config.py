"""The settings: all problems named at once, nothing secret said."""

import pytest

from instantly.config import ConfigurationError, Settings

REQUIRED = {
    "INSTANTLY_SERVICE_DATABASE_URL": "postgresql://user:pg-password@db.example:5432/instantly",
    "INSTANTLY_SERVICE_API_KEY": "own-key",
    "KEY_SERVICE_URL": "http://keys.example",
    "KEY_SERVICE_API_KEY": "keys-key",
    "RUNS_SERVICE_URL": "http://runs.example",
    "RUNS_SERVICE_API_KEY": "runs-key",
}
OPTIONAL = {
    "WEBHOOK_BASE_URL": "https://hooks.example",
    "INSTANTLY_WEBHOOK_SECRET": "the-webhook-secret",
    "PORT": "8080",
    "INSTANTLY_API_URL": "http://instantly.example",
    "STATS_EXCLUDED_DOMAINS": "ours.example",
    "DATABASE_POOL_SIZE": "3",
    "LOG_LEVEL": "DEBUG",
}
FIELDS = {
    "INSTANTLY_SERVICE_DATABASE_URL": "database_url",
    "INSTANTLY_SERVICE_API_KEY": "api_key",
    "KEY_SERVICE_URL": "key_service_url",
    "KEY_SERVICE_API_KEY": "key_service_api_key",
    "RUNS_SERVICE_URL": "runs_service_url",
    "RUNS_SERVICE_API_KEY": "runs_service_api_key",
    "WEBHOOK_BASE_URL": "webhook_base_url",
    "INSTANTLY_WEBHOOK_SECRET": "webhook_secrets",
    "PORT": "port",
    "INSTANTLY_API_URL": "instantly_api_url",
    "STATS_EXCLUDED_DOMAINS": "stats_excluded_domains",
    "DATABASE_POOL_SIZE": "database_pool_size",
    "LOG_LEVEL": "log_level",
}
URLS = ["KEY_SERVICE_URL", "RUNS_SERVICE_URL", "WEBHOOK_BASE_URL", "INSTANTLY_API_URL"]

BAD_KEYS = ["two words", "line\nbreak", "schlüssel", "zero\u200bwidth", "bell\x07"]
BAD_WEBHOOK_SECRETS = [
    *("fifteen-letters", "x" * 256, "two words that are long", "schlüssel-schlüssel"),
    *(",", "the-webhook-secret,", ",the-webhook-secret", "the-webhook-secret,short"),
    "the-first-secret-1,the-second-secret,the-third-secret-1",
]
BAD_URLS = [
    *("keys.example", "//keys.example", "localhost:3000", "ftp://keys.example"),
    *("http://", "http:///path", "http://:3000", "http://keys.example/?to=x"),
    *("http://keys.example/#top", "http://keys.example:port", "http://keys.example:70000"),
    *("http://keys.example:-1", "http://[::1", "http://[nonsense]/", "http://keys example"),
    *("http://keys.exa\nmple", "http://ke\u2100ys.example"),
]
BAD_NUMBERS = ["0", "-1", "+5", "1.5", "1e3", "0x10", "many", "1 0", "1_0", "\uff14", "9" * 50]
BAD_DATABASE_URLS = [
    "instantly",
    "mysql://user:pg-password@db.example/instantly",
    "http://db.example/instantly?x=pg-password",
    "postgresql://user:pg-password@[db.example/instantly",
    "postgresql://db.example/instantly?no_such_option=pg-password",
    "postgresql://user:%zz@db.example/instantly",
    "host=db.example password='pg-password",
    "postgresql://user:pg-password@db.example:port/instantly",
    "postgresql://user:pg-password@db.example:70000/instantly",
]
# All keys are read in one way, and so are all URLs and numbers.
MALFORMED = {
    "INSTANTLY_SERVICE_DATABASE_URL": BAD_DATABASE_URLS,
    "INSTANTLY_SERVICE_API_KEY": BAD_KEYS,
    "KEY_SERVICE_API_KEY": BAD_KEYS[:1],
    "RUNS_SERVICE_API_KEY": BAD_KEYS[:1],
    "INSTANTLY_WEBHOOK_SECRET": BAD_WEBHOOK_SECRETS,
    "KEY_SERVICE_URL": BAD_URLS,
    "RUNS_SERVICE_URL": BAD_URLS[:1],
    "WEBHOOK_BASE_URL": BAD_URLS[:1],
    "INSTANTLY_API_URL": BAD_URLS[:1],
    "PORT": [*BAD_NUMBERS, "65536"],
    "DATABASE_POOL_SIZE": [*BAD_NUMBERS[:1], "201"],
    "LOG_LEVEL": ["loud", "10", "INFO,DEBUG"],
}


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment(environment)
    return str(refused.value)


def named_in(message: str) -> set[str]:
    """The variables of which a message speaks."""
    words = {word.strip(":;,.") for word in message.split()}
    return words & FIELDS.keys()


def test_an_empty_environment_is_refused_with_every_required_name_at_once() -> None:
    assert named_in(refusal({})) == set(REQUIRED)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_variable_that_is_absent_or_empty_is_missing(name: str) -> None:
    environment = {**REQUIRED, **OPTIONAL}
    del environment[name]
    for nothing in ({}, {name: ""}, {name: " \n"}):
        message = refusal(environment | nothing)
        assert named_in(message) == {name}
        assert "missing" in message


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values]
)
def test_a_malformed_variable_is_named_and_its_value_is_not_repeated(name: str, value: str) -> None:
    message = refusal({**REQUIRED, **OPTIONAL, name: value})
    assert named_in(message) == {name}
    if len(value) > len("https://"):
        assert value not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSTANTLY_SERVICE_DATABASE_URL", "postgresql://user:hush-hush@[db.example/instantly"),
        ("INSTANTLY_SERVICE_DATABASE_URL", "hush-hush"),
        ("INSTANTLY_SERVICE_API_KEY", "hush-hush and more"),
        ("INSTANTLY_WEBHOOK_SECRET", "hush-hush,more-than-sixteen-characters"),
        ("KEY_SERVICE_URL", "http://user:hush-hush"),
        ("KEY_SERVICE_URL", "http://[hush-hush]/"),
        ("KEY_SERVICE_URL", "http://user:hush-hush@keys\u2100.example/"),
        ("KEY_SERVICE_URL", "ftp://user:hush-hush@keys.example"),
        ("KEY_SERVICE_URL", "http://user:hush-hush@keys.example?x"),
    ],
)
def test_a_refusal_says_no_part_of_a_secret_or_of_a_url(name: str, value: str) -> None:
    assert "hush-hush" not in refusal({**REQUIRED, name: value})


def test_all_that_is_missing_or_malformed_is_named_in_one_message() -> None:
    message = refusal(
        {
            "INSTANTLY_SERVICE_API_KEY": "two words",
            "KEY_SERVICE_URL": "keys.example",
            "RUNS_SERVICE_URL": "http://runs.example",
            "PORT": "many",
            "LOG_LEVEL": "loud",
            "WEBHOOK_BASE_URL": "ftp://hooks.example",
        }
    )
    assert named_in(message) == FIELDS.keys() - {
        "RUNS_SERVICE_URL",
        "INSTANTLY_API_URL",
        "INSTANTLY_WEBHOOK_SECRET",
        "STATS_EXCLUDED_DOMAINS",
        "DATABASE_POOL_SIZE",
    }
    assert "\n" not in message


def test_the_optional_variables_have_defaults() -> None:
    settings = Settings.from_environment(REQUIRED)
    assert settings.webhook_base_url is None
    assert settings.webhook_secrets == ()
    assert settings.port == 3011
    assert settings.instantly_api_url == "https://api.instantly.ai"
    assert settings.stats_excluded_domains == ()
    assert settings.database_pool_size >= 1
    assert settings.log_level == "INFO"


def test_an_optional_variable_that_is_empty_takes_its_default() -> None:
    nothing = dict.fromkeys(OPTIONAL, " ")
    assert Settings.from_environment(REQUIRED | nothing) == Settings.from_environment(REQUIRED)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *((name, f"  {value}\n", value) for name, value in REQUIRED.items()),
        ("INSTANTLY_SERVICE_DATABASE_URL", "postgres://u:p@db/x", "postgres://u:p@db/x"),
        ("INSTANTLY_SERVICE_DATABASE_URL", "host=db dbname=x", "host=db dbname=x"),
        ("INSTANTLY_SERVICE_API_KEY", "!~{}=/+", "!~{}=/+"),
        ("KEY_SERVICE_URL", "https://keys.example:8443/", "https://keys.example:8443"),
        ("KEY_SERVICE_URL", "http://[::1]:80", "http://[::1]:80"),
        ("RUNS_SERVICE_URL", "http://runs.example/base//", "http://runs.example/base"),
        ("WEBHOOK_BASE_URL", "https://hooks.example/", "https://hooks.example"),
        ("INSTANTLY_API_URL", "http://127.0.0.1:3012/", "http://127.0.0.1:3012"),
        ("INSTANTLY_WEBHOOK_SECRET", "sixteen-letters!", ("sixteen-letters!",)),
        ("INSTANTLY_WEBHOOK_SECRET", f"{'~' * 255} , {'!' * 16}", ("~" * 255, "!" * 16)),
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("DATABASE_POOL_SIZE", "1", 1),
        ("DATABASE_POOL_SIZE", "200", 200),
        ("LOG_LEVEL", "warning", "WARNING"),
        ("LOG_LEVEL", "Error", "ERROR"),
        ("STATS_EXCLUDED_DOMAINS", "One.example, two.EXAMPLE,,", ("one.example", "two.example")),
        ("STATS_EXCLUDED_DOMAINS", ",", ()),
    ],
)
def test_a_value_is_read(name: str, text: str, value: object) -> None:
    settings = Settings.from_environment({**REQUIRED, name: text})
    assert getattr(settings, FIELDS[name]) == value


@pytest.mark.parametrize(
    "name", [name for name in FIELDS if name.endswith(("_KEY", "_URL", "_SECRET"))]
)
def test_neither_a_secret_nor_a_url_shows_in_the_repr(name: str) -> None:
    environment = {**REQUIRED, **OPTIONAL}
    if name in URLS:
        environment[name] += "/hush-hush"
    settings = Settings.from_environment(environment)
    assert getattr(settings, FIELDS[name])
    for representation in (repr(settings), str(settings)):
        assert environment[name] not in representation
        assert "hush-hush" not in representation
        assert "pg-password" not in representation


def test_unknown_variables_are_no_concern() -> None:
    environment = {**REQUIRED, "PATH": "/bin", "INSTANTLY_SERVICE_UNKNOWN": "\x00"}
    assert Settings.from_environment(environment) == Settings.from_environment(REQUIRED)
