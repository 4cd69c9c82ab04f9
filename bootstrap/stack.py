"""The Pulumi stack: its config outside the checkout, its life from init to removal."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import backend, command, paths
from bootstrap.console import say
from bootstrap.failure import BootstrapError

PROJECT_FILE = "Pulumi.yaml"
SALT = "encryptionsalt:"
UNLOCK_FIX = (
    "set PULUMI_CONFIG_PASSPHRASE_FILE to the file with the stack's passphrase; "
    "without a backend of your own, unset it and PULUMI_CONFIG_PASSPHRASE: the generated one is then used"
)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack, the environment that reaches it, and the folder that holds its rendered config.

    Pulumi writes a salt into a stack's config file. The config is therefore a copy outside the checkout, and what
    does not run the program runs beside it.
    """

    name: str
    env: Mapping[str, str]
    checkout: Path = paths.CHECKOUT

    @property
    def folder(self) -> Path:
        """Folder of the rendered config; one for each backend, since the salt belongs to a stack there."""
        url = hashlib.sha256(backend.chosen_by_user(self.env).encode()).hexdigest()[:8]
        return paths.state(self.env) / "config" / url

    @property
    def config(self) -> Path:
        """The rendered config file."""
        return self.folder / self.source.name

    @property
    def source(self) -> Path:
        """The config file that the user writes."""
        return self.checkout / f"Pulumi.{self.name}.yaml"

    def render(self) -> None:
        """Copy the project's and the stack's config, with the salt of the earlier copy unless the user's has one."""
        if not self.source.exists():
            fix = f"cp Pulumi.dev.yaml {self.source.name} and edit it"
            raise BootstrapError(f"there is no {self.source.name}", fix=fix)
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.checkout / PROJECT_FILE, self.folder / PROJECT_FILE)
        text = self.source.read_text()
        salt = salt_of(self.config.read_text()) if self.config.exists() else ""
        draft = self.config.with_suffix(".draft")
        draft.write_text(text if salt_of(text) or not salt else f"{text.rstrip()}\n{salt}\n")
        draft.replace(self.config)

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        listed = json.loads(self._captured("stack", "ls", "--json", fix="pulumi stack ls").answer)
        return any(entry["name"].rpartition("/")[2] == self.name for entry in listed)

    def up(self) -> int:
        """Bring up what the config says, in front of the user; return Pulumi's exit status."""
        return self._shown("up", "--yes", "--skip-preview", cwd=self.checkout)

    def preview(self) -> int:
        """Show what `up` would change; return Pulumi's exit status."""
        return self._shown("preview", "--diff", cwd=self.checkout)

    def init(self) -> None:
        """Make the stack; Pulumi writes its salt into the rendered config."""
        self._captured("stack", "init", self.name, fix=f"pulumi stack init {self.name}; {UNLOCK_FIX}")

    def destroy(self) -> int:
        """Destroy what the stack made, in front of the user; return Pulumi's exit status."""
        return self._shown("destroy", "--yes", "--skip-preview", cwd=self.checkout)

    def remove(self) -> None:
        """Remove the stack itself, when it holds nothing any more."""
        self._captured("stack", "rm", "--yes", "--preserve-config", self.name, fix=f"pulumi stack rm {self.name}")
        self.config.unlink()

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets left out."""
        shown = self._captured("stack", "output", "--json", "--stack", self.name, fix="pulumi stack output --json")
        return dict(json.loads(shown.answer))

    def cancel(self) -> None:
        """Remove the lock that an update left behind."""
        self._captured("cancel", "--yes", "--stack", self.name, fix=f"pulumi cancel {self.name}")

    def forget_pending_creates(self) -> None:
        """Refresh, and drop the creations that were interrupted."""
        refresh = ["pulumi", "refresh", "--yes", "--skip-preview", "--clear-pending-creates", *self._options()]
        fix = f"pulumi refresh --clear-pending-creates --stack {self.name}"
        command.run(refresh, doing="refreshing the stack", fix=fix, env=self.env, cwd=self.checkout)

    def _options(self) -> list[str]:
        return ["--stack", self.name, "--config-file", str(self.config)]

    def _shown(self, *arguments: str, cwd: Path) -> int:
        with subprocess.Popen(["pulumi", *arguments, *self._options()], env=self.env, cwd=cwd) as process:
            status = _patiently(process)
        if status:
            say(f"pulumi {arguments[0]} ended with status {status}: the reason is above. What was done stays recorded;")
            say("mend the cause and run the same command again, it goes on from there.")
        return status

    def _captured(self, *arguments: str, fix: str, reason: str = "Pulumi refused") -> command.Result:
        ask = ["pulumi", "--cwd", str(self.folder), "--non-interactive", *arguments]
        result = command.ask(ask, env=self.env)
        if not result.ok:
            raise BootstrapError(reason, fix=fix, command=ask, log=result.output)
        return result

    def check_passphrase(self) -> None:
        """Encrypt something into a copy of the config, the cheapest command that needs the passphrase.

        Raises BootstrapError when it does not open the stack's secrets.
        """
        if not salt_of(self.config.read_text()):
            return
        probe = self.config.with_name(f"probe.{self.source.name}")
        shutil.copyfile(self.config, probe)
        try:
            options = ("--stack", self.name, "--config-file", str(probe))
            reason = "the passphrase does not open the stack's secrets"
            self._captured("config", "set", "--secret", "probe", "probe", *options, fix=UNLOCK_FIX, reason=reason)
        finally:
            probe.unlink()


def _patiently(process: subprocess.Popen[bytes]) -> int:
    """Wait for Pulumi even when interrupted: it got the same signal, and must finish what it began."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def salt_of(config: str) -> str:
    """The line with the salt in a stack's config; empty if there is none."""
    return next((line for line in config.splitlines() if line.startswith(SALT)), "")
