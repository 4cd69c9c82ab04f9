"""Mistakes in a configuration, collected so that the user sees all of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake: where it stands, what stands there, why that is wrong and how to mend it."""

    path: str
    """Config path, for example ``nodes[1].address``."""
    value: object
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.value!r} {self.reason}\n    fix: {self.fix}"


class ConfigError(ValueError):
    """Every mistake of one configuration in one report."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"the configuration has {count} mistake{'' if count == 1 else 's'}; nothing was touched"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))
