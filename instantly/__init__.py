"""instantly-service: runs cold-email outreach through the Instantly.ai API V2."""

from flask import Flask

from instantly.auth import require_api_key
from instantly.clients.instantly import InstantlyClient
from instantly.clients.keys import KeyServiceClient
from instantly.clients.runs import RunsServiceClient
from instantly.config import Settings
from instantly.context import EXTENSION, Parts
from instantly.database import Database
from instantly.errors import register_error_handlers
from instantly.observability import configure_logging, observe_requests
from instantly.routes import campaigns, health, leads

MAX_BODY_BYTES = 16 * 1024 * 1024


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Opens the connection pool, but waits for no other service."""
    configure_logging(settings.log_level)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = Parts(
        settings=settings,
        database=Database(settings.database_url, settings.database_pool_size),
        keys=KeyServiceClient(settings.key_service_url, settings.key_service_api_key),
        runs=RunsServiceClient(settings.runs_service_url, settings.runs_service_api_key),
        instantly=InstantlyClient(settings.instantly_api_url),
    )
    observe_requests(app)
    require_api_key(app, settings.api_key)
    register_error_handlers(app)
    for resource in (health, campaigns, leads):
        app.register_blueprint(resource.bp)
    return app
