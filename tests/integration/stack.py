"""A real Pulumi stack on a temporary copy of the project, driven by the Automation API."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi import automation

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("Pulumi.yaml", "__main__.py", "vpn", "docker", "contracts")
PROJECT = "dstack-vpn"
SESSION = 3  # of the fields after the name in /proc/<pid>/stat (proc(5))


@dataclass
class Stack:
    """One stack with a backend, a passphrase and a copy of the project of its own."""

    folder: Path
    config: dict[str, Any]
    name: str = "it"
    env: Mapping[str, str] = field(default_factory=dict)
    passphrase: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def __post_init__(self) -> None:
        self.deployed: dict[str, Any] | None = None  # the config that the last `up` brought up; unknown after another
        self.project = self.folder / "project"
        self.backend = self.folder / "backend"
        self.backend.mkdir(parents=True)
        self.project.mkdir()
        for item in COPIED:
            source = CHECKOUT / item
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.project / item)
        self.api = automation.create_or_select_stack(
            self.name, work_dir=str(self.project), opts=automation.LocalWorkspaceOptions(env_vars=self.variables)
        )

    @property
    def variables(self) -> dict[str, str]:
        """What Pulumi needs to find this stack and no other."""
        return {
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "PULUMI_CONFIG_PASSPHRASE_FILE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            **self.env,
        }

    def configure(self, **changes: Any) -> None:
        """Write the stack's config file anew, as a user edits it; the salt stays."""
        self.config |= changes
        file = self.project / f"Pulumi.{self.name}.yaml"
        lines = file.read_text().splitlines() if file.exists() else []
        salt = [line for line in lines if line.startswith("encryptionsalt")]
        values = {f"{PROJECT}:{key}": value for key, value in self.config.items() if value is not None}
        file.write_text("\n".join([*salt, f"config: {json.dumps(values)}", ""]))

    def up(self, **changes: Any) -> automation.UpResult:
        """`pulumi up` with a changed config."""
        self.configure(**changes)
        self.deployed = None
        result = self.api.up(log_verbosity=None)
        self.deployed = dict(self.config)
        return result

    def changes(self) -> dict[str, int]:
        """What one more `pulumi preview`, with refresh, would change."""
        summary = self.api.preview().change_summary
        return {str(getattr(kind, "value", kind)): count for kind, count in summary.items() if count}

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return {name: output.value for name, output in self.api.outputs().items()}

    def cli(self, *arguments: str) -> list[str]:
        """A command line of this stack's, for what the Automation API does not do."""
        self.deployed = None
        return ["pulumi", *arguments, "--stack", self.name, "--non-interactive"]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run Pulumi's command line and return what it said, whatever the exit status."""
        env = {**os.environ, **self.variables, **more}
        command = self.cli(*arguments)
        return subprocess.run(
            command, cwd=self.project, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Pulumi's command line in the background, in a session of its own."""
        env = {**os.environ, **self.variables}
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            self.cli(*arguments), cwd=self.project, env=env, stdout=quiet, stderr=quiet, start_new_session=True
        )

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """Kill what `start` started, with its plugins, as a power failure does."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # some end meanwhile
                pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
                if int(rest[SESSION]) == process.pid:
                    os.kill(pid, signal.SIGKILL)
        process.wait()

    def destroy(self) -> None:
        """`pulumi destroy`, also after an interrupted `up`."""
        self.api.cancel()
        self.api.destroy()
