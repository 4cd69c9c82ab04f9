"""The environment is made once for the locks it is made from."""

import os
from pathlib import Path
from typing import Any

import pytest

from bootstrap import command, python_env
from bootstrap.failure import BootstrapError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; the first makes an environment as far as the step looks at it."""
    ran: list[list[str]] = []

    def record(arguments: list[str], **_: Any) -> str:
        ran.append(arguments)
        if "venv" in arguments:
            for name in ("python", "pip"):
                Path(arguments[-1], "bin").mkdir(parents=True, exist_ok=True)
                Path(arguments[-1], "bin", name).touch()
        return ""

    monkeypatch.setattr(command, "run", record)
    return ran


def test_the_second_run_does_nothing(checkout: Path, commands: list[list[str]]) -> None:
    venv = checkout / ".venv"
    for _ in range(2):
        python_env.ensure(os.environ, checkout=checkout, venv=venv)
    assert len(commands) == 2
    assert "--require-hashes" in commands[1]


def test_a_changed_lock_is_installed(checkout: Path, commands: list[list[str]]) -> None:
    venv = checkout / ".venv"
    python_env.ensure(os.environ, checkout=checkout, venv=venv)
    (checkout / "requirements.txt").write_text("package==2\n")
    python_env.ensure(os.environ, checkout=checkout, venv=venv)
    assert ["venv" in ran for ran in commands] == [True, False, False]


def test_an_environment_whose_interpreter_is_gone_is_made_again(checkout: Path, commands: list[list[str]]) -> None:
    venv = checkout / ".venv"
    python_env.ensure(os.environ, checkout=checkout, venv=venv)
    (venv / "bin" / "python").unlink()
    python_env.ensure(os.environ, checkout=checkout, venv=venv)
    assert ["venv" in ran for ran in commands] == [True, False, True, False]


def test_a_failed_installation_is_tried_again(
    checkout: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise BootstrapError("exit status 1", fix="pip install")

    venv = checkout / ".venv"
    with monkeypatch.context() as patch:
        patch.setattr(python_env, "_install", fail)
        with pytest.raises(BootstrapError):
            python_env.ensure(os.environ, checkout=checkout, venv=venv)
    python_env.ensure(os.environ, checkout=checkout, venv=venv)
    assert "install" in commands[-1]
