"""Step: the virtual environment with exactly the locked packages."""

import hashlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from bootstrap import apt, command
from bootstrap.console import step
from bootstrap.paths import CHECKOUT, VENV
from bootstrap.retry import persistently

LOCKS = ("requirements.txt", "requirements-dev.txt")
STAMP = ".installed"


def ensure(env: Mapping[str, str], *, checkout: Path = CHECKOUT, venv: Path = VENV) -> None:
    """Create the virtual environment and install the locks, unless the same locks are installed."""
    with step("Python environment") as current:
        wanted = fingerprint(checkout)
        if installed(venv) == wanted:
            current.result = "unchanged"
            return
        _create(venv, env)
        _install(checkout, venv, env)
        (venv / STAMP).write_text(wanted)
        current.result = f"installed the locked packages in {venv}"


def fingerprint(checkout: Path) -> str:
    """Hash over the lock files: what the environment must have been made from."""
    return hashlib.sha256(b"".join((checkout / lock).read_bytes() for lock in LOCKS)).hexdigest()


def installed(venv: Path) -> str:
    """Hash of the locks that the environment was made from; empty if it was not, or its interpreter is gone."""
    stamp = venv / STAMP
    return stamp.read_text() if stamp.exists() and (venv / "bin" / "python").exists() else ""


def _create(venv: Path, env: Mapping[str, str]) -> None:
    if (venv / "bin" / "pip").exists() and (venv / "bin" / "python").exists():
        return
    # Debian ships these modules in a package of their own.
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        apt.install(f"python3.{sys.version_info.minor}-venv", why="makes virtual environments", env=env)
    create = [sys.executable, "-m", "venv", "--clear", str(venv)]
    command.run(create, doing="creating the virtual environment", fix="python3 -m venv .venv", env=env)


def _install(checkout: Path, venv: Path, env: Mapping[str, str]) -> None:
    locks = [argument for lock in LOCKS for argument in ("-r", lock)]
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"]
    fix = f".venv/bin/python -m pip install --require-hashes {' '.join(locks)}"
    doing = "installing the locked packages"
    persistently(lambda: command.run([*pip, *locks], doing=doing, fix=fix, env=env, cwd=checkout))
