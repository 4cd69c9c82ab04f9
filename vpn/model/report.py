"""What nodes tell of themselves, as docker/wireguard/report writes it, and their host's config carrier hands it on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

NO_ENDPOINT = "(none)"  # wg(8)
GENERATION = 12  # characters of a checksum, as the node itself shows it
FILE, SECTION = "## ", "# "
Sections = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """What a node knows of the tunnel to a peer (wg(8), show)."""

    handshake: int
    """When the last one was, in seconds since 1970 by the host's clock; 0: never."""
    received: int
    """Bytes, as `sent`."""
    sent: int
    endpoint: str
    """Where the peer is now; empty when nobody knows."""


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """What a node says of itself."""

    age: float
    """Seconds since it said so."""
    state: str
    """What its last pass found: begins with ok when all is as configured."""
    dataplane: str
    """Kernel or userspace."""
    public_key: str
    tunnels: Mapping[str, Tunnel]
    """By the peer's public key."""


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What the config carrier of a host knows."""

    clock: float
    """Seconds since 1970, there."""
    wanted: Mapping[str, str]
    """Generation of the config of everything that reads one, by its name."""
    applied: Mapping[str, str]
    """The one that it goes by; nothing there while it goes by none."""
    nodes: Mapping[str, NodeReport]


def parse(text: str) -> HostReport:
    """What `carrier report` prints. Raises ValueError when it is something else."""
    head, *files = text.split(f"\n{FILE}")
    lines = head.splitlines()
    if len(lines) < 2:  # noqa: PLR2004 (the time, and how long the host is up)
        raise ValueError("there is no time in it")
    return _host(lines, [file.splitlines() for file in files])


def _host(head: Sequence[str], files: Sequence[Sequence[str]]) -> HostReport:
    now = float(head[1].split()[0])
    checksums = [_checksum(line) for line in head[2:]]
    return HostReport(
        clock=float(head[0]),
        wanted={name: value for name, file, value in checksums if file == "SHA256SUMS"},
        applied={name: value for name, file, value in checksums if file == "applied"},
        nodes={PurePosixPath(path).parent.name: _node(lines, now) for path, *lines in files},
    )


def _node(lines: Sequence[str], now: float) -> NodeReport:
    """What one node left; if that is broken, it is the trouble of this node alone."""
    try:
        return node(sections(lines), now)
    except (LookupError, ValueError) as error:
        state = f"failed: its report is broken: {error!r}"
        return NodeReport(age=0, state=state, dataplane="", public_key="", tunnels={})


def _checksum(line: str) -> tuple[str, str, str]:
    """Folder, file and generation of a line of sha256sum(1)."""
    value, _, path = line.partition("  ")
    return PurePosixPath(path).parent.name, PurePosixPath(path).name, value[:GENERATION]


def node(parts: Sections, now: float) -> NodeReport:
    """What the sections of a report say; `now` is the uptime of its host. Raises LookupError or ValueError."""
    return NodeReport(
        age=now - float(parts["uptime"][0]),
        state=" ".join(parts["state"]),
        dataplane=" ".join(parts["dataplane"]),
        public_key="".join(parts["public-key"]),
        tunnels=_tunnels(parts),
    )


def sections(lines: Sequence[str]) -> Sections:
    """The lines of a report by the section's name."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in lines:
        if line.startswith(SECTION):
            section = line.removeprefix(SECTION)
            found[section] = []
        else:
            found.setdefault(section, []).append(line)
    return found


def _tunnels(parts: Sections) -> dict[str, Tunnel]:
    """A peer that came or went between two questions is left out."""
    handshakes, transfers = dict(_rows(parts["latest-handshakes"])), dict(_rows(parts["transfer"]))
    endpoints = dict(_rows(parts["endpoints"]))
    return {
        key: Tunnel(
            handshake=int(handshake),
            received=int(transfers[key][0]),
            sent=int(transfers[key][1]),
            endpoint="" if endpoints[key] == [NO_ENDPOINT] else endpoints[key][0],
        )
        for key, (handshake,) in handshakes.items()
        if key in transfers and key in endpoints
    }


def _rows(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The peer's key, and what wg(8) says of it."""
    for line in lines:
        key, *values = line.split()
        yield key, values
