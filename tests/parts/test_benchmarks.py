"""The benchmarks run: what they measure is not asserted here."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


# Those that are left out differ from these by a number only.
ROWS = [
    "stats of a brand, 100 events",
    "stats by campaign, 100 events",
    "list 100 of a type, 100 events",
    "webhook, 2 kB, 100 events",
    "status of 1,000 addresses",
    "GET /campaigns/{id}",
    "list 100 leads",
    "list 100 of 10,000 leads, page 99",
    "list 100 campaigns",
    "list 100 of 10,000 campaigns, page 99",
    "create a campaign, 0 ms",
    "add 1,000 leads, 20 ms",
    "10 acts at once, 500 ms",
    "20 clients trickle a body",
    "30 idle connections",
]


def test_every_kind_of_row_of_the_benchmarks_can_be_driven(tmp_path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS), "--seconds", "0.2", "--connections", "4"]
    command += ["--campaigns", "10", "--events", "100", "--crowd", "20", "--only", *ROWS]
    command += ["--json", str(figures)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    rows = json.loads(figures.read_text())
    assert [row["row"] for row in rows] == ROWS
    for row in rows:
        assert (row.get("requests") or row["served"]) > 0
        assert (row.get("errors") or row.get("refused", 0)) == 0
