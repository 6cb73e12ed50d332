"""The settings: all problems named at once, nothing secret said."""

from dataclasses import fields

import certifi
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
    "DATABASE_PREPARED_STATEMENTS": "false",
    "KEEP_ALIVE_SECONDS": "60",
    "REQUESTS_CA_BUNDLE": certifi.where(),
    "SSL_CERT_FILE": certifi.where(),
    "LOG_LEVEL": "DEBUG",
}
ALL = REQUIRED | OPTIONAL
OUR_KEY = "INSTANTLY_SERVICE_API_KEY"

BAD_KEYS = ["two words", "line\nbreak", "schlüssel", "zero\u200bwidth", "bell\x07"]
BAD_WEBHOOK_SECRETS = [
    "fifteen-letters",
    "x" * 256,
    "two words that are long",
    "schlüssel-schlüssel",
    ",",
    "the-webhook-secret,",
    ",the-webhook-secret",
    "the-webhook-secret,short",
    "the-first-secret-1,the-second-secret,the-third-secret-1",
]
BAD_URLS = [
    "keys.example",
    "//keys.example",
    "localhost:3000",
    "ftp://user:hush-hush@keys.example",
    "http://",
    "http:///path",
    "http://:3000",
    "http://user:hush-hush@keys.example?to=x",
    "http://keys.example/#top",
    "http://user:hush-hush",
    "http://keys.example:70000",
    "http://[hush-hush]/",
    "http://keys example",
    "http://keys.exa\nmple",
    "http://user:hush-hush@ke\u2100ys.example",
]
BAD_NUMBERS = ["0", "-1", "+5", "1.5", "0x10", "many", "1_0", "\uff14", "9" * 50, "65536"]
# What is wrong with a connection string is said by the parameter's name.
BAD_PARAMETERS = {
    "pgbouncer=true": "pgbouncer",
    "sslmode=no-verify": "sslmode",
    "target_session_attrs=hush-hush": "target_session_attrs",
    "connect_timeout=soon": "connect_timeout",
    "sslrootcert=/hush-hush": "sslrootcert",
}
BAD_DATABASE_URLS = [
    "postgresql://user:open@hush-hush@db.example/instantly",
    *(f"postgresql://user:hush-hush@db.example/x?{query}" for query in BAD_PARAMETERS),
    "hush-hush",
    "mysql://user:hush-hush@db.example/instantly",
    "postgresql://user:hush-hush@[db.example/instantly",
    "postgresql://db.example/instantly?no_such_option=hush-hush",
    "postgresql://user:%zz@db.example/instantly",
    "host=db.example password='hush-hush",
    "postgresql://user:hush-hush@db.example:port/instantly",
    "postgresql://user:hush-hush@db.example:70000/instantly",
]
# All keys are read in one way, and so are all URLs and numbers.
MALFORMED = {
    "INSTANTLY_SERVICE_DATABASE_URL": BAD_DATABASE_URLS,
    "INSTANTLY_SERVICE_API_KEY": [*BAD_KEYS, ",", "one,", ",two", "one,two,three", "one,t wo"],
    "KEY_SERVICE_API_KEY": BAD_KEYS[:1],
    "RUNS_SERVICE_API_KEY": BAD_KEYS[:1],
    "INSTANTLY_WEBHOOK_SECRET": BAD_WEBHOOK_SECRETS,
    "KEY_SERVICE_URL": BAD_URLS,
    "RUNS_SERVICE_URL": BAD_URLS[:1],
    "WEBHOOK_BASE_URL": BAD_URLS[:1],
    "INSTANTLY_API_URL": BAD_URLS[:1],
    "PORT": BAD_NUMBERS,
    "DATABASE_POOL_SIZE": ["0", "201"],
    "STATS_EXCLUDED_DOMAINS": ["a@", "@b", "a@b@c", "a b@c"],
    "DATABASE_PREPARED_STATEMENTS": ["no", "1", "off"],
    "KEEP_ALIVE_SECONDS": ["4", "3601", "75.5"],
    "REQUESTS_CA_BUNDLE": ["/no/such/file", __file__],
    "SSL_CERT_FILE": ["/no/such/file"],
    "LOG_LEVEL": ["loud", "10", "INFO,DEBUG"],
}


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment(environment)
    return str(refused.value)


def named_in(message: str) -> set[str]:
    """The variables of which a message speaks."""
    return {word.strip(":;,.") for word in message.split()} & ALL.keys()


def read(name: str, text: str) -> object:
    """The setting that a variable becomes."""
    (setting,) = (each.name for each in fields(Settings) if each.metadata["variable"] == name)
    return getattr(Settings.from_environment({**REQUIRED, name: text}), setting)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_variable_that_is_absent_or_empty_is_missing(name):
    others = {other: text for other, text in ALL.items() if other != name}
    for nothing in ({}, {name: ""}, {name: " \n"}):
        message = refusal(others | nothing)
        assert named_in(message) == {name}
        assert "missing" in message


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values]
)
def test_a_malformed_variable_is_named_and_no_part_of_it_is_repeated(name, value):
    message = refusal({**ALL, name: value})
    assert named_in(message) == {name}
    assert "hush-hush" not in message
    if len(value) > len("https://"):
        assert value not in message


@pytest.mark.parametrize(("query", "name"), BAD_PARAMETERS.items())
def test_the_parameter_that_a_connection_string_cannot_have_is_named(query, name):
    url = f"postgresql://user:hush-hush@db.example/x?{query}"
    assert name in refusal({**REQUIRED, "INSTANTLY_SERVICE_DATABASE_URL": url})


def test_all_that_is_missing_or_malformed_is_named_in_one_message():
    assert named_in(refusal({})) == set(REQUIRED)
    malformed = {name: values[0] for name, values in MALFORMED.items()}
    del malformed["RUNS_SERVICE_API_KEY"], malformed["KEY_SERVICE_URL"]
    message = refusal({"RUNS_SERVICE_API_KEY": "well-formed", **malformed})
    assert named_in(message) == ALL.keys() - {"RUNS_SERVICE_API_KEY"}
    assert "\n" not in message


def test_an_optional_variable_that_is_absent_or_empty_takes_its_default():
    settings = Settings.from_environment(REQUIRED)
    assert settings.webhook_base_url is None
    assert settings.webhook_secrets == ()
    assert settings.port == 3011
    assert settings.instantly_api_url == "https://api.instantly.ai"
    assert settings.stats_excluded == ()
    assert settings.database_pool_size == 8
    assert settings.database_prepared_statements is True
    assert settings.keep_alive_seconds == 100
    assert settings.trusted_certificates is None
    assert settings.log_level == "INFO"
    assert Settings.from_environment(REQUIRED | dict.fromkeys(OPTIONAL, " ")) == settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *((name, f"  {value}\n", value) for name, value in REQUIRED.items() if name != OUR_KEY),
        (OUR_KEY, "  own-key\n", ("own-key",)),
        (OUR_KEY, "new-key , old-key", ("new-key", "old-key")),
        (OUR_KEY, "!~{}=/+", ("!~{}=/+",)),
        ("INSTANTLY_SERVICE_DATABASE_URL", "postgres://u:p@db/x", "postgres://u:p@db/x"),
        ("INSTANTLY_SERVICE_DATABASE_URL", "host=db dbname=x", "host=db dbname=x"),
        ("KEY_SERVICE_URL", "https://keys.example:8443/", "https://keys.example:8443"),
        ("KEY_SERVICE_URL", "http://[::1]:80", "http://[::1]:80"),
        ("RUNS_SERVICE_URL", "http://runs.example/base//", "http://runs.example/base"),
        ("WEBHOOK_BASE_URL", "https://hooks.example/", "https://hooks.example"),
        ("INSTANTLY_API_URL", "http://127.0.0.1:3012/", "http://127.0.0.1:3012"),
        ("INSTANTLY_WEBHOOK_SECRET", "sixteen-letters!", ("sixteen-letters!",)),
        ("INSTANTLY_WEBHOOK_SECRET", f"{'~' * 255} , {'!' * 16}", ("~" * 255, "!" * 16)),
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("DATABASE_POOL_SIZE", "200", 200),
        ("DATABASE_PREPARED_STATEMENTS", "False", False),
        ("KEEP_ALIVE_SECONDS", "3600", 3600),
        ("LOG_LEVEL", "warning", "WARNING"),
        ("LOG_LEVEL", "Error", "ERROR"),
        ("STATS_EXCLUDED_DOMAINS", "One.example, two.EXAMPLE,,", ("one.example", "two.example")),
        ("STATS_EXCLUDED_DOMAINS", "a_b%c@x.example,b", ("a_b%c@x.example", "b")),
        ("STATS_EXCLUDED_DOMAINS", ",", ()),
    ],
)
def test_a_value_is_read(name, text, value):
    assert read(name, text) == value


def test_the_certificates_of_requests_go_before_those_of_openssl(tmp_path):
    ours = str(tmp_path)  # a folder of them
    environment = {**REQUIRED, "SSL_CERT_FILE": certifi.where()}
    assert Settings.from_environment(environment).trusted_certificates == certifi.where()
    environment["REQUESTS_CA_BUNDLE"] = ours
    assert Settings.from_environment(environment).trusted_certificates == ours


@pytest.mark.parametrize(
    "name", [name for name in ALL if name.endswith(("_KEY", "_URL", "_SECRET"))]
)
def test_neither_a_secret_nor_a_url_shows_in_the_repr(name):
    environment = ALL | {name: f"{ALL[name]}/hush-hush"}
    settings = Settings.from_environment(environment)
    assert read(name, environment[name]) in (environment[name], (environment[name],))
    for shown in (repr(settings), str(settings)):
        assert "hush-hush" not in shown
        assert "pg-password" not in shown


def test_unknown_variables_are_no_concern():
    environment = {**REQUIRED, "PATH": "/bin", "INSTANTLY_SERVICE_UNKNOWN": "\x00"}
    assert Settings.from_environment(environment) == Settings.from_environment(REQUIRED)
