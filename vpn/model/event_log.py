"""The event log of a DStack guest: what its boot measured into RTMR3, as far as the register itself bears it out.

The log itself proves nothing; that its replay gives the RTMR3 of a signed quote does. Digests in it are not read at
all: some guests leave them out (DStack, cc-eventlog), and a right one may stand by a wrong payload.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha384
from typing import Any

from vpn.model.untrusted import read_json

RUNTIME_EVENT = 0x08000001  # DStack, cc-eventlog
RTMR = 3
REGISTER_BYTES = 48
READY = "system-ready"
# In the first form of a digest the name ends at a colon: with one in it, the same digest fits two names.
NAME = re.compile(r"[!-9;-~]{1,128}")
HEX = re.compile(r"([0-9a-f]{2})*")


class EventLogError(ValueError):
    """What was given is no event log; says what it is or has instead."""


@dataclass(frozen=True)
class Event:
    """One measurement into RTMR3."""

    name: str
    payload: bytes
    version: int = 1
    """Form of the digest: 1 or 2 (DStack, event_log_version)."""

    def digest(self) -> bytes:
        """What the register was extended with."""
        if self.version == 1:
            return sha384(RUNTIME_EVENT.to_bytes(4, "little") + f":{self.name}:".encode() + self.payload).digest()
        fields = {"name": self.name, "payload": self.payload.hex(), "type": RUNTIME_EVENT}
        return sha384(json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()).digest()


@dataclass(frozen=True)
class Boot:
    """The events of RTMR3 on both sides of the first `system-ready`.

    Only those before it come from the guest's system: applications can add any event later (DStack, EmitEvent).
    """

    before: tuple[Event, ...]
    after: tuple[Event, ...]
    ready: bool

    def payloads(self) -> Mapping[str, bytes]:
        """What the system measured, by name; the first of each."""
        return {event.name: event.payload for event in reversed(self.before)}

    def duplicates(self) -> list[str]:
        """Names that the system measured more than once."""
        names = [event.name for event in self.before]
        return sorted({name for name in names if names.count(name) > 1})

    def late(self) -> list[str]:
        """Names of the system that something measured once more after the boot."""
        return sorted({event.name for event in self.after} & {READY, *self.payloads()})


def parse(text: str) -> tuple[Event, ...]:
    """The events of RTMR3 out of the log that the guest agent gives, JSON. Raises EventLogError."""
    try:
        entries = read_json(text)
    except ValueError as error:
        raise EventLogError(f"is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise EventLogError("is not a list")
    return tuple(_event(entry) for entry in entries if _is_runtime(entry))


def replay(events: Iterable[Event]) -> bytes:
    """RTMR3 after these events (Intel TDX module specification, TDG.MR.RTMR.EXTEND)."""
    register = bytes(REGISTER_BYTES)
    for event in events:
        register = sha384(register + event.digest()).digest()
    return register


def boot(events: Sequence[Event]) -> Boot:
    """Split the events at the first `system-ready`."""
    names = [event.name for event in events]
    if READY not in names:
        return Boot(before=tuple(events), after=(), ready=False)
    end = names.index(READY)
    return Boot(before=tuple(events[:end]), after=tuple(events[end + 1 :]), ready=True)


def _is_runtime(entry: Any) -> bool:
    if not isinstance(entry, dict):
        raise EventLogError(f"has an entry that is no object: {entry!r:.80}")
    of_register, of_type = entry.get("imr") == RTMR, entry.get("event_type") == RUNTIME_EVENT
    if of_register != of_type:
        raise EventLogError(
            f"has an event of another type in RTMR3, or of this type elsewhere: {entry.get('event')!r:.80}"
        )
    return of_register


def _event(entry: Mapping[str, Any]) -> Event:
    name, payload, version = entry.get("event"), entry.get("event_payload"), entry.get("version", 1)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise EventLogError(f"has an event whose name is not valid: {name!r:.80}")
    if not isinstance(payload, str) or not HEX.fullmatch(payload):
        raise EventLogError(f"has an event {name} whose payload is not hexadecimal")
    if version not in (1, 2) or isinstance(version, bool):
        raise EventLogError(f"has an event {name} of version {version!r:.80}")
    return Event(name, bytes.fromhex(payload), version)
