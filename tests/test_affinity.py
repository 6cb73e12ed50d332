"""The CPU that a process has for itself."""

import os
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from instantly import affinity
from instantly.affinity import Claim, claim_cpu, has_cpu_quota

CPUS = {0, 1, 2, 3}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four CPUs, claims of its own, and no control groups yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: CPUS)
    monkeypatch.setattr(os, "cpu_count", lambda: len(CPUS))
    monkeypatch.setattr(affinity, "CLAIM_PREFIX", f"\0{tmp_path}-cpu-")
    monkeypatch.setattr(affinity, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(affinity, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("machine")
def test_each_claim_is_another_cpu_until_there_is_none_and_a_closed_one_is_free_again() -> None:
    with ExitStack() as stack:
        claims = [claim for _ in CPUS if (claim := claim_cpu())]
        for claim in claims:
            stack.callback(claim.close)
        assert {claim.cpu for claim in claims} == CPUS
        assert claim_cpu() is None
        with pytest.raises(OSError, match="in use"):
            Claim(2)
        claims[0].close()
        again = claim_cpu()
        assert again
        with closing(again):
            assert again.cpu == claims[0].cpu


@pytest.mark.parametrize("usable", [{0}, {0, 1}], ids=["one", "some"])
@pytest.mark.usefixtures("machine")
def test_a_platform_that_restricts_cpus_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, usable: set[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    assert claim_cpu() is None


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, False),
        ("0::/\n", {"cpu.max": "max 100000\n"}, False),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, True),
        ("0::/\n", {"cpu.max": ""}, False),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "max 100000\n"}, True),
        ("0::/a/b\n", {"a/c/cpu.max": "50000 100000\n"}, False),
        ("3:cpu,cpuacct:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "-1\n"}, False),
        ("3:cpu,cpuacct:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "20000\n"}, True),
        # A container of version 1 sees its own group at the root.
        ("3:cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "20000\n"}, True),
        ("3:cpuset:/a\n2:memory:/a\n", {"cpu/a/cpu.cfs_quota_us": "20000\n"}, False),
    ],
)
def test_a_quota_of_cpu_time_is_found(
    machine: Path, own: str, files: dict[str, str], expected: bool
) -> None:
    write(machine / "own", own)
    for name, text in files.items():
        write(machine / "cgroup" / name, text)
    assert has_cpu_quota() is expected
    claim = claim_cpu()
    assert (claim is None) is expected
    if claim:
        claim.close()


@pytest.mark.usefixtures("machine")
def test_where_processes_cannot_be_bound_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert claim_cpu() is None
