"""The two folders through which the gate speaks with the config carrier and with the nodes.

To the carrier, in the gate's config folder: `applied`, a copy of the checksums that the gate goes by. `asked` is the
carrier's wish for a look at the chain now; `seen.json` is the gate's own memory. To the nodes, in the members' folder,
on a tmpfs: `members`, whose first line is `<boot id> <uptime until which it holds> <generation>`, followed by a line
`<token> <key> <address> <owner>` a member. Boot ID and uptime, because a clock that somebody sets may not lengthen a
lease.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from access_gate.members import Member
from access_gate.settings import Settings, load


def uptime() -> float:
    """Seconds since this machine started (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])


def boot_id() -> str:
    """Changes with every start of this machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Board:
    """Reads and writes these files; every write replaces a file as a whole."""

    def __init__(self, config: Path, members: Path) -> None:
        self._config = config
        self._members = members / "members"
        self._seen = config / "seen.json"

    # --- the carrier's side

    def settings(self) -> tuple[Settings, bytes]:
        """The settings and their checksums. Raises SettingsError."""
        return load(self._config)

    @property
    def asked(self) -> bool:
        """Whether the carrier wants a look at the chain now."""
        return (self._config / "asked").exists()

    def withdraw_question(self) -> None:
        """Before a look: a question that comes meanwhile starts the next."""
        (self._config / "asked").unlink(missing_ok=True)

    def acknowledge(self, checksums: bytes) -> None:
        """Tell that the settings with these checksums are in effect."""
        applied = self._config / "applied"
        if not applied.exists() or applied.read_bytes() != checksums:
            _replace(applied, checksums)

    def retract(self) -> None:
        """Tell that no settings are in effect."""
        (self._config / "applied").unlink(missing_ok=True)

    # --- memory

    def seen(self) -> dict[str, Any]:
        """Genesis hash and number of the newest block that was seen; empty if none, or nothing legible."""
        with suppress(OSError, ValueError, AttributeError):
            memory = json.loads(self._seen.read_bytes())
            if {"genesis": str, "number": int} == {name: type(value) for name, value in memory.items()}:
                return dict(memory)
        return {}

    def remember(self, seen: dict[str, Any]) -> None:
        """Keep over restarts what `seen` returns."""
        if seen != self.seen():
            _replace(self._seen, json.dumps(seen).encode())

    # --- the nodes' side

    def publish(self, members: Iterable[Member], until: float) -> None:
        """Let just these members in, until an uptime in seconds."""
        lines = "".join(f"{one.token} {one.key} {one.address} {one.owner}\n" for one in sorted(members))
        generation = sha256(lines.encode()).hexdigest()  # all of it: holders choose keys, and must find no two alike
        _replace(self._members, f"{boot_id()} {int(until)} {generation}\n{lines}".encode())

    def published(self) -> tuple[dict[int, Member], float]:
        """The members by an earlier life's word, by token, and until when; it may have run out. Nobody after a boot."""
        with suppress(OSError, ValueError):
            first, *lines = self._members.read_text().splitlines()
            boot, until, _ = first.split()
            if boot == boot_id():
                members = [_member(line) for line in lines]
                return {one.token: one for one in members}, float(until)
        return {}, 0


def _member(line: str) -> Member:
    token, key, address, owner = line.split()
    return Member(int(token), key, address, owner)


def _replace(path: Path, content: bytes) -> None:
    """In one step, so that nobody reads half a file; as long as the disk is full, the old one stays."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
