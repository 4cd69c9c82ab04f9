"""Step: where Pulumi keeps the stack's state, and the passphrase that encrypts its secrets."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from bootstrap import paths
from bootstrap.console import step
from bootstrap.failure import BootstrapError

PASSPHRASE_FILE = "passphrase"  # noqa: S105 (a file's name)
PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


def ensure(env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings to add: none for a user who has a backend, else a backend in the user's state folder."""
    with step("Backend") as current:
        chosen = chosen_by_user(env)
        current.result = f"yours, {chosen}" if chosen else f"files in {paths.state(env)}"
        if not chosen and not _has_passphrase(env):
            passphrase_file(paths.state(env))
        return settings(env)


def settings(env: Mapping[str, str]) -> dict[str, str]:
    """What `ensure` returns, without making anything."""
    if chosen_by_user(env):
        return {"PULUMI_SKIP_UPDATE_CHECK": "1"}
    folder = paths.state_folder(env)
    own = {"PULUMI_BACKEND_URL": f"file://{folder}", "PULUMI_SKIP_UPDATE_CHECK": "1"}
    return own if _has_passphrase(env) else {**own, PASSPHRASE[1]: str(folder / PASSPHRASE_FILE)}


def chosen_by_user(env: Mapping[str, str]) -> str:
    """URL of the backend that the user set or is logged in to; empty if there is none."""
    if env.get("PULUMI_BACKEND_URL"):
        return env["PULUMI_BACKEND_URL"]
    home = env.get("PULUMI_CREDENTIALS_PATH") or env.get("PULUMI_HOME") or Path.home() / ".pulumi"
    credentials = Path(home) / "credentials.json"
    return str(json.loads(credentials.read_text()).get("current") or "") if credentials.exists() else ""


def passphrase_file(folder: Path) -> Path:
    """The file with the passphrase, made if there is none. An existing one is never written to.

    Raises BootstrapError if it is gone but a stack needs it: a new one could not decrypt that stack's secrets.
    """
    file = folder / PASSPHRASE_FILE
    if file.exists():
        return file
    if any((folder / ".pulumi" / "stacks").rglob("*.json")):
        reason = f"{file} is gone, and the stacks in {folder / '.pulumi'} are encrypted with it"
        fix = f"put the file back, or, to give up what runs: remove its containers, then rm -r {folder}"
        raise BootstrapError(reason, fix=fix)
    _write_new(file)
    return file


def _has_passphrase(env: Mapping[str, str]) -> bool:
    return any(name in env for name in PASSPHRASE)


def _write_new(file: Path) -> None:
    """Write a random passphrase. The link makes it appear complete or not at all, and fails if there is one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_urlsafe(32))
            output.flush()
            os.fsync(output.fileno())
        os.link(draft, file)
    finally:
        draft.unlink()
