"""Only the lock of a dead process is broken, and only in a file backend."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootstrap import repair
from bootstrap.command import Result
from bootstrap.stack import Stack


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks that were cancelled."""
    names: list[str] = []
    monkeypatch.setattr(Stack, "cancel", lambda stack: names.append(stack.name))
    return names


@pytest.fixture
def stack(tmp_path: Path, checkout: Path, env: dict[str, str]) -> Stack:
    """A stack in a file backend."""
    return Stack(name="dev", env={**env, "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}"}, checkout=checkout)


def lock(folder: Path, **owner: object) -> None:
    """Lock the stack as Pulumi does."""
    file = folder / "state" / ".pulumi" / "locks" / "organization" / "dstack-vpn" / "dev" / "1.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"hostname": platform.node(), **owner}))


def test_the_lock_of_a_dead_process_is_broken_with_a_word(
    tmp_path: Path, stack: Stack, dead: int, cancelled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lock(tmp_path, pid=dead)
    repair.break_stale_locks(stack)
    assert cancelled == ["dev"]
    assert f"process {dead}" in capsys.readouterr().err


def test_the_lock_of_a_running_process_is_respected(tmp_path: Path, stack: Stack, cancelled: list[str]) -> None:
    lock(tmp_path, pid=os.getpid())
    repair.break_stale_locks(stack)
    assert cancelled == []


def test_the_lock_of_another_machine_is_respected(
    tmp_path: Path, stack: Stack, dead: int, cancelled: list[str]
) -> None:
    lock(tmp_path, pid=dead, hostname="elsewhere")
    repair.break_stale_locks(stack)
    assert cancelled == []


def test_pending_creations_are_forgotten_with_a_word(
    tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(Stack, "forget_pending_creates", lambda stack: forgotten.append(stack.name))
    repair.clear_pending(stack)
    assert forgotten == []
    interrupt(tmp_path)
    repair.clear_pending(stack)
    assert forgotten == ["dev"]
    assert "killed in creating nginx-server" in capsys.readouterr().err


def test_the_sweep_removes_only_what_bears_the_identity(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(command: list[str], **_: Any) -> Result:
        asked.append(" ".join(command))
        return Result(status=0, output="", answer="abc\n" if command[1:3] == ["network", "ls"] else "")

    monkeypatch.setattr("bootstrap.command.ask", answer)
    repair.sweep("abc123", stack)
    assert asked == [
        "docker container ls --quiet --filter label=dstack-vpn.mesh=abc123 --all",
        "docker network ls --quiet --filter label=dstack-vpn.mesh=abc123",
        "docker network rm --force abc",
        "docker volume ls --quiet --filter label=dstack-vpn.mesh=abc123",
    ]


def interrupt(folder: Path) -> None:
    """Leave the state of an `up` that was killed while it made a container."""
    resource = {
        "urn": "urn:pulumi:dev::dstack-vpn::docker:index/container:Container::nginx-server",
        "type": "docker:index/container:Container",
        "inputs": {"name": "nginx-server", "image": "sha256:ours"},
    }
    latest = {"pending_operations": [{"type": "creating", "resource": resource}]}
    checkpoint = folder / "state" / ".pulumi" / "stacks" / "dstack-vpn" / "dev.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))
