"""What was seen of a running mesh, before anybody judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vpn.model.report import HostReport

Outputs = Mapping[str, Any]
"""The stack's outputs (vpn/outputs.py)."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A container as its engine lists it."""

    state: str
    """running, paused, restarting, exited, created or dead."""
    status: str
    """In words, with what the health check says."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A holder of an access pass who is let in."""

    token: int
    key: str
    address: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """What a member of the PostgreSQL cluster says."""

    complaint: str = ""
    """What is wrong with it; empty if nothing."""
    role: str = ""
    state: str = ""
    leader: str = ""
    """The node whose member this one takes for the primary; empty if for none, or nobody told it."""
    lags: Mapping[str, int | None] = field(default_factory=dict)
    """Bytes that every member is behind, as this one knows it, by the node's name."""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What a host tells."""

    complaint: str = ""
    """Why its engine does not answer; then there is nothing else."""
    skew: float = 0
    """Seconds by which its clock is ahead of this machine's."""
    containers: Mapping[str, Seen] = field(default_factory=dict)
    """By the container's name."""
    report: HostReport | None = None
    report_complaint: str = ""
    """Why there is no report."""
    members: tuple[Member, ...] = ()
    gate: str = ""
    """What the access gate says of its last look."""
    databases: Mapping[str, DatabaseFacts] = field(default_factory=dict)
    """By the name in the mesh."""


@dataclass(frozen=True, kw_only=True)
class GuestFacts:
    """What the keeper in a confidential VM says; it is the VM's word."""

    complaint: str = ""
    """Why there is none."""
    serial: int = 0
    """Of the last order."""
    missing: tuple[str, ...] = ()
    """Who has not applied it yet."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that was seen."""

    hosts: Mapping[str, HostFacts]
    guests: Mapping[str, GuestFacts]
    """By the node's name."""
