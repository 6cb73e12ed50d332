"""The benchmarks run: what they measure is not asserted here."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_row_of_the_benchmarks_can_be_driven(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS), "--seconds", "0.2", "--connections", "4"]
    command += ["--campaigns", "10", "--events", "100", "200", "--crowd", "20"]
    command += ["--json", str(figures)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    rows = json.loads(figures.read_text())
    assert [row["row"] for row in rows] == [
        "stats of a brand, 100 events",
        "stats by campaign, 100 events",
        "list 100, 100 events",
        "list 100 of a type, 100 events",
        "webhook, 2 kB, 100 events",
        "stats of a brand, 200 events",
        "stats by campaign, 200 events",
        "list 100, 200 events",
        "list 100 of a type, 200 events",
        "webhook, 2 kB, 200 events",
        "status of 1,000 addresses",
        "GET /campaigns/{id}",
        "list 100 leads",
        "list 1,000 leads",
        "list 100 of 10,000 leads",
        "list 100 of 10,000 leads, page 99",
        "list 100 campaigns",
        "list 100 of 10,000 campaigns",
        "list 100 of 10,000 campaigns, page 99",
        "create a campaign, 0 ms",
        "add 1,000 leads, 20 ms",
        "add 10,000 leads, 100 ms",
        "2 acts at once, 500 ms",
        "4 acts at once, 500 ms",
        "10 acts at once, 500 ms",
        "20 clients trickle headers",
        "20 clients trickle a body",
        "30 idle connections",
    ]
    for row in rows:
        assert (row.get("requests") or row["served"]) > 0
        assert (row.get("errors") or row.get("refused", 0)) == 0
