"""The WSGI entry, `app:create_app()`, and the development entry, `python app.py`."""

import os

from flask import Flask

from instantly import application
from instantly.config import Settings


def create_app() -> Flask:
    """The service as the environment configures it; raises ConfigurationError."""
    return application.create_app(Settings.from_environment(os.environ))


if __name__ == "__main__":
    from instantly.sandbox.run import main

    main()
