"""The one table: what was measured, what it was compared with, and whether that is good enough."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 150  # characters, where there is no terminal to ask


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound, on the ratio where there is one, else on the value."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured thing; `reference` holds what was measured beside it, round by round."""

    name: str
    unit: str
    samples: Sequence[float]
    against: str = ""
    reference: Sequence[float] = ()
    target: Target | None = None

    @property
    def value(self) -> float:
        """Median of the samples."""
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        """Median of the rounds' ratios: what slows down a whole round does not count."""
        if not self.reference:
            return None
        return median(one / other for one, other in zip(self.samples, self.reference, strict=True))

    @property
    def met(self) -> bool:
        """Whether the target is met; what has none always is."""
        return self.target is None or self.target.met(self.value if self.ratio is None else self.ratio)

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        found = {"name": self.name, "unit": self.unit, "samples": list(self.samples), "median": self.value}
        compared = {"against": self.against, "reference": list(self.reference), "ratio": self.ratio}
        return {**found, **(compared if self.reference else {}), "target": str(self.target or ""), "met": self.met}


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table to stdout."""
    table = Table(title=title, caption="median (lowest - highest); a ratio is the median of the rounds' ratios")
    for heading in ("measured", "value", "beside it", "its value", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in ("measured", "beside it") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _cells(row: Row) -> list[str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    verdict = "" if row.target is None else "[green]met[/]" if row.met else "[red]missed[/]"
    value, reference = (_spread(samples, row.unit) for samples in (row.samples, row.reference))
    return [row.name, value, row.against, reference, ratio, str(row.target or ""), verdict]


def _spread(samples: Sequence[float], unit: str) -> str:
    if not samples:
        return ""
    numbers = [_number(one) for one in (median(samples), min(samples), max(samples))]
    spread = f" ({numbers[1]} - {numbers[2]})" if len(set(samples)) > 1 else ""
    return f"{numbers[0]}{spread} {unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
