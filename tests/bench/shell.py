"""Runs other programs, each for a bounded time, and leaves none behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TAIL = 2000  # characters of output that a failure shows
GRACE_SECONDS = 10


class BenchError(Exception):
    """The measurement could not be made; the message says why."""


def say(text: str) -> None:
    """One line on stderr about what goes on; stdout is for the table."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> str:
    """Run a command for at most `timeout` seconds and return its stdout. Raises BenchError when it fails."""
    process = _start(command, env=env, cwd=cwd)
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(command)}: not done within {timeout:.0f} s") from None
    finally:
        _end(process)
    if process.returncode:
        raise BenchError(f"{' '.join(command)}: exit status {process.returncode}\n{(out + err)[-TAIL:]}")
    return out


def _start(command: Sequence[str], *, env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[str]:
    """Start it in a session of its own, so that it can be ended with all that it started."""
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command, env=env, cwd=cwd, text=True, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise BenchError(f"{command[0]} cannot be started: {error.strerror}; `make bench` provides it") from None


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _end(process: subprocess.Popen[str]) -> None:
    """End what was interrupted or took too long, with everything it started."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
