"""A CPU for the process alone: threads on several hand the interpreter's lock to and fro.

Up to half of a busy process's CPU time goes there. Bound to one CPU it needs none of that; and
where two such processes share a CPU after all, they lose no more than a fifth or so by it.
"""

import os
import socket
from pathlib import Path
from secrets import SystemRandom

CLAIM_PREFIX = "\0instantly-service-cpu-"
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


class Claim:
    """`cpu` is ours until the claim is closed; the kernel ends it with the process.

    An abstract socket's name belongs to one process of a network namespace, which is a machine's or
    a container's.
    """

    def __init__(self, cpu: int) -> None:
        """Raises OSError when another process has it."""
        self.cpu = cpu
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(f"{CLAIM_PREFIX}{cpu}")
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()


def claim_cpu() -> Claim | None:
    """A CPU that no other process of this service has, if it is ours to choose one.

    It is not where the platform restricts CPUs already, where there is but one, or where processes
    cannot be bound.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    if len(usable) == 1 or len(usable) < (os.cpu_count() or 0) or has_cpu_quota():
        return None
    # In any order: containers do not see each other's claims.
    for cpu in SystemRandom().sample(sorted(usable), len(usable)):
        try:
            return Claim(cpu)
        except OSError:
            continue
    return None


def has_cpu_quota() -> bool:
    """Whether a control group of this process, of version 1 or 2, bounds its CPU time."""
    try:
        groups = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return False
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers == "":
            root, name = CGROUPS, "cpu.max"
        elif "cpu" in controllers.split(","):
            root, name = CGROUPS / "cpu", "cpu.cfs_quota_us"
        else:
            continue
        group_folder = root / path.strip("/")
        for folder in (group_folder, *group_folder.parents):
            if quota_in(folder / name):
                return True
            if folder == root:
                break
    return False


def quota_in(file: Path) -> bool:
    try:
        return file.read_text().split()[0] not in ("max", "-1")
    except (OSError, IndexError):
        return False
