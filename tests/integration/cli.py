"""bin/vpn, as an operator runs it, on the outputs of a stack."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VPN = Path(__file__).resolve().parents[2] / "bin" / "vpn"
SECONDS = 90


@dataclass(frozen=True)
class Cli:
    """The command line with a file of outputs."""

    outputs: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside that of the tests."""

    def command(self, *arguments: str) -> list[str]:
        """What is run."""
        return [str(VPN), *arguments, "--mesh", str(self.outputs)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it, whatever the exit status."""
        env = {**os.environ, **self.env}
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=SECONDS, check=False, env=env
        )

    def data(self, *arguments: str) -> tuple[int, Any]:
        """Exit status, and what it prints for machines."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def seconds(self, *arguments: str) -> float:
        """How long a command takes."""
        started = time.monotonic()
        self.run(*arguments)
        return time.monotonic() - started

    def findings(self) -> dict[str, str]:
        """What `vpn doctor` finds, hints apart: by place and trouble, what was found."""
        status, found = self.data("doctor")
        troubles = {f"{one['place']}: {one['trouble']}": one["found"] for one in found if not one["hint"]}
        assert status == bool(troubles)
        return troubles
