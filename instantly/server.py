"""gunicorn's settings: `gunicorn --config python:instantly.server 'app:create_app()'`.

One process with threads. Reading the settings here stops a misconfigured start before gunicorn
forks, with one message.
"""

import os
import sys

from instantly.config import ConfigurationError, Settings

try:
    settings = Settings.from_environment(os.environ)
except ConfigurationError as error:
    sys.exit(str(error))

bind = f"0.0.0.0:{settings.port}"
workers = 1
worker_class = "gthread"
threads = settings.web_threads
keepalive = 75
graceful_timeout = 30
control_socket_disable = True
