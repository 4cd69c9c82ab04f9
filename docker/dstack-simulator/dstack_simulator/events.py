"""The event log of a simulated boot, and the registers that it was measured into."""

import json
from collections.abc import Iterable
from hashlib import sha384
from typing import Any

RUNTIME_EVENT = 0x08000001  # DStack, cc-eventlog
BOOT_EVENT = 1
REGISTERS = 4

Log = list[dict[str, Any]]


def firmware() -> Log:
    """One event in each of the registers of the firmware and the kernel."""
    return [_entry(register, BOOT_EVENT, sha384(b"%d" % register).hexdigest(), "", b"") for register in range(3)]


def runtime(name: str, payload: bytes) -> dict[str, Any]:
    """An event of the guest's system, or of its applications, in the last register."""
    digest = sha384(RUNTIME_EVENT.to_bytes(4, "little") + f":{name}:".encode() + payload).hexdigest()
    return _entry(REGISTERS - 1, RUNTIME_EVENT, digest, name, payload)


def boot(app_id: bytes, compose_hash: bytes, instance_id: bytes, provider_id: bytes, image: bytes) -> Log:
    """What a guest with keys from a KMS measures, in this order."""
    provider = json.dumps({"name": "kms", "id": provider_id.hex()}, separators=(",", ":"))
    events = [
        ("system-preparing", b""),
        ("app-id", app_id),
        ("compose-hash", compose_hash),
        ("instance-id", instance_id),
        ("boot-mr-done", b""),
        ("mr-kms", bytes([6]) * 32),
        ("os-image-hash", image),
        ("key-provider", provider.encode()),
        ("storage-fs", b"ext4"),
        ("system-ready", b""),
    ]
    return [*firmware(), *(runtime(name, payload) for name, payload in events)]


def registers(log: Iterable[dict[str, Any]]) -> tuple[bytes, ...]:
    """RTMR0 to RTMR3 after these events."""
    values = [bytes(48)] * REGISTERS
    for entry in log:
        index = entry["imr"]
        values[index] = sha384(values[index] + bytes.fromhex(entry["digest"])).digest()
    return tuple(values)


def _entry(register: int, kind: int, digest: str, name: str, payload: bytes) -> dict[str, Any]:
    return {"imr": register, "event_type": kind, "digest": digest, "event": name, "event_payload": payload.hex()}
