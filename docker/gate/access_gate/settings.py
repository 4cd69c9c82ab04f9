"""What the gate is told, by the config carrier, in a folder of its own."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

FILE = "settings.json"
CHECKSUMS = "SHA256SUMS"


class SettingsError(Exception):
    """There are no settings yet, or not those that the carrier delivered."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one generation. Times in seconds."""

    rpc_url: str = field(repr=False)
    contract: str
    finality: str
    """latest, safe, finalized, or a number of confirmations."""
    lease: int
    tick: int
    max_head_age: int
    """0: a block of any age is believed."""
    member_range: IPv4Network
    nodes: dict[str, str]
    """Public key of every node, base64, by name: no member may have one of these."""
    admitting: list[str]
    """Nodes with something for members: only those let them in."""


def load(folder: Path) -> tuple[Settings, bytes]:
    """The settings, and their checksums, which name the generation. Raises SettingsError."""
    try:
        text, sums = (folder / FILE).read_bytes(), (folder / CHECKSUMS).read_bytes()
        if sums != f"{sha256(text).hexdigest()}  {FILE}\n".encode():
            raise SettingsError("the settings do not match their SHA256SUMS")
        return _parse(json.loads(text)), sums
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"no settings: {error!r}") from None


def _parse(raw: dict[str, Any]) -> Settings:
    return Settings(
        rpc_url=raw["rpcUrl"],
        contract=raw["contract"],
        finality=raw["finality"],
        lease=raw["lease"],
        tick=raw["tick"],
        max_head_age=raw["maxHeadAge"],
        member_range=IPv4Network(raw["memberRange"]),
        nodes=raw["nodes"],
        admitting=raw["admitting"],
    )
