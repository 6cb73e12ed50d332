"""What `GET /metrics` says, read as Prometheus reads it.

Not a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

PREFIX = "instantly_service_"
Series = tuple[str, frozenset[tuple[str, str]]]


def read(client: Any) -> dict[Series, float]:
    """Each series with its value; a series that stands twice is an error."""
    answer = client.open("/metrics", method="GET")
    assert answer.status_code == 200
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    ]
    assert len(dict(samples)) == len(samples)
    return dict(samples)


def figure(client: Any, name: str, **labels: str) -> float:
    """The sum of the series of this name that have these labels."""
    return total(read(client), name, **labels)


def total(figures: dict[Series, float], name: str, **labels: str) -> float:
    return sum(
        value
        for (full_name, found), value in figures.items()
        if full_name == PREFIX + name and found >= labels.items()
    )


class Rise:
    """What a block has added to the series: see `rising`."""

    def __init__(self, before: dict[Series, float]) -> None:
        self.before = before
        self.after: dict[Series, float] = {}

    def of(self, name: str, **labels: str) -> float:
        return total(self.after, name, **labels) - total(self.before, name, **labels)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of these labels → the rise, where there is one."""
        risen: dict[tuple[str, ...], float] = {}
        for (full_name, found), value in self.after.items():
            rise = value - self.before.get((full_name, found), 0)
            if full_name == PREFIX + name and rise:
                values = tuple(dict(found)[label] for label in labels)
                risen[values] = risen.get(values, 0) + rise
        return risen


@contextmanager
def rising(client: Any) -> Iterator[Rise]:
    rise = Rise(read(client))
    yield rise
    rise.after = read(client)
