"""PgBouncer in front of PostgreSQL, in transaction mode and without prepared statements."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from harness import (
    HANGING_SECONDS,
    ROOT,
    Service,
    free_port,
    fresh_database,
    looking_at,
    running,
    wait_until,
)
from world import World, addresses

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
ROUNDS = 12  # a statement is prepared when it is run for the sixth time


@contextmanager
def pooled(url: str, folder: Path) -> Iterator[str]:
    """The URL of the same database behind a pooler that has fewer connections than its clients."""
    assert PGBOUNCER
    parts, port = urlsplit(url), free_port()
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{parts.username}" ""\n')
    # Versions from 1.22 on know prepared statements unless they are told not to.
    settings.write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 3\n"
    )
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    process = subprocess.Popen(
        [PGBOUNCER, *user, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    through = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"

    def answers() -> bool:
        assert process.poll() is None
        try:
            psycopg.connect(through).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(answers)
        yield through
    finally:
        process.terminate()
        process.wait(HANGING_SECONDS)


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
def test_everything_works_through_a_pooler_without_prepared_statements(
    postgres, upstreams, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("pooler", numbered=True)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # for the pooler's own user
    with (
        fresh_database(postgres, is_migrated=False) as url,
        pooled(url, folder) as through,
        looking_at(url) as db,
    ):
        service = Service(through, upstreams, folder, DATABASE_PREPARED_STATEMENTS="false")
        migration = [sys.executable, "-m", "instantly.migrate"]
        for _ in range(2):
            subprocess.run(migration, cwd=ROOT, env=service.environment, check=True)
        with running(service):
            world = World(db, upstreams, service)

            def act(number: int) -> None:
                mine = World(db, upstreams, service)
                mine.campaign = mine.created()
                assert mine.add(addresses(3, start=3 * number))["added"] == 3
                at_instantly = mine.campaign["instantlyCampaignId"]
                for name in ("email_opened", "lead_unsubscribed"):
                    event = {"event_type": name, "campaign_id": at_instantly, "n": number}
                    answer = mine.send("POST", "/webhooks/instantly", event)
                    assert answer.get_json()["recorded"] is True
                for method, path, body in (
                    ("GET", mine.path("/leads"), None),
                    ("GET", mine.path("/events?payload=true&eventType=email_opened"), None),
                    ("POST", "/stats", {"brandId": "brand-1", "groupBy": "campaignId"}),
                    ("POST", mine.path("/reconcile"), {}),
                    ("POST", "/accounts/sync", None),
                ):
                    assert mine.send(method, path, body).status_code == 200, path
                assert mine.delete([f"lead{3 * number}@x.example"]).status_code == 200

            with ThreadPoolExecutor(6) as callers:
                list(callers.map(act, range(ROUNDS)))
            assert world.agrees()
            assert set(world.runs()) == {"completed"}
            assert service.call("GET", "/health").status_code == 200
        assert service.clean_up() == "nothing to clean up\n"
