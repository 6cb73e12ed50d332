"""Puts the parts of the service together."""

from threading import BoundedSemaphore

from flask import Flask
from werkzeug.routing import PathConverter

from instantly.clients.instantly import InstantlyClient
from instantly.clients.keys import KeyServiceClient
from instantly.clients.runs import RunsServiceClient
from instantly.config import Settings
from instantly.limits import MAX_WAITING
from instantly.routes import (
    accounts,
    analytics,
    campaigns,
    documentation,
    events,
    leads,
    service,
    webhooks,
)
from instantly.storage.leases import Leases
from instantly.storage.statements import Database
from instantly.web.auth import require_api_key
from instantly.web.context import EXTENSION, Services
from instantly.web.errors import HANDLERS
from instantly.web.ignored_fields import tell_ignored_fields
from instantly.web.request_log import configure_logging, observe_requests


class AnyText(PathConverter):
    """The rest of a path, which may begin with a slash, too: an organisation's id may."""

    regex = ".+?"
    part_isolating = False


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Opens the connection pool, but waits for no other service."""
    configure_logging(settings.log_level)
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = AnyText
    database = Database(
        settings.database_url,
        settings.database_pool_size,
        prepared_statements=settings.database_prepared_statements,
    )
    certificates = settings.trusted_certificates
    app.extensions[EXTENSION] = Services(
        settings=settings,
        database=database,
        keys=KeyServiceClient(settings.key_service_url, settings.key_service_api_key, certificates),
        runs=RunsServiceClient(
            settings.runs_service_url, settings.runs_service_api_key, certificates
        ),
        instantly=InstantlyClient(settings.instantly_api_url, certificates),
        leases=Leases(database),
        waiting=BoundedSemaphore(MAX_WAITING),
    )
    observe_requests(app)
    tell_ignored_fields(app)
    require_api_key(app, settings.api_keys)
    for exception, handler in HANDLERS.items():
        app.register_error_handler(exception, handler)
    # In the order of the document.
    for resource in (
        campaigns,
        leads,
        webhooks,
        events,
        accounts,
        analytics,
        service,
        documentation,
    ):
        app.register_blueprint(resource.bp)
    return app
