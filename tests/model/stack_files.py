"""The configuration as the Pulumi CLI makes it of the two files in the repository."""

from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = "dstack-vpn:"


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / name).read_text())
    return content


SCHEMA: dict[str, dict[str, Any]] = _read("Pulumi.yaml")["config"]
DEFAULTS = {key: entry["default"] for key, entry in SCHEMA.items() if "default" in entry}
DEV = DEFAULTS | {key.removeprefix(NAMESPACE): value for key, value in _read("Pulumi.dev.yaml")["config"].items()}
