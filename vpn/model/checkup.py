"""What `vpn doctor` collects of a mesh, and what it finds in that."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vpn.model.facts import Facts, Outputs
from vpn.model.report import NodeReport
from vpn.model.status import Status, View

UP_FIX = "`pulumi up` brings it back"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A trouble."""

    place: str
    """Where it is."""
    trouble: str
    found: str
    """What was seen."""
    fix: str
    hint: bool = False
    """It could be better, but nothing is broken."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a node showed when it was looked at from inside."""

    report: NodeReport
    has_tun: bool
    forwards: bool
    """Whether its kernel hands on packets."""
    paths: Mapping[str, tuple[int, int]]
    """By a peer's address: bytes of the largest packet that gets there, 0 if none does, and of what the route takes."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Why a container does not run well, as its engine tells."""

    error: str = ""
    out_of_memory: bool = False
    said: str = ""
    """By its health check, when that failed last."""


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """All that was collected."""

    outputs: Outputs
    facts: Facts
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """By the node's name; who could not be asked is not there."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Nodes that run and could not be looked at from inside, and why."""
    stopped: Mapping[tuple[str, str], Stopped] = field(default_factory=dict)
    """By host and container."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of tools here and of engines, by what it is; empty when it is not there."""

    @property
    def status(self) -> Status:
        """The same as people see it."""
        return self.view.status()

    @property
    def view(self) -> View:
        """Who judges it for people."""
        return View(self.outputs, self.facts)


Check = Callable[[Checkup], Iterator[Finding]]


def few(names: Iterable[str]) -> str:
    """Some names, and how many more."""
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")  # noqa: PLR2004 (shown)
