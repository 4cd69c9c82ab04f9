"""Runs other programs: quietly with a log and the time on screen, or for their answer."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bootstrap.console import Progress
from bootstrap.failure import BootstrapError


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended: exit status, 127 if there is no such program, 124 if it took too long."""

    status: int
    output: str
    answer: str = ""
    """What a short command printed to stdout alone."""

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.status == 0


def ask(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float = 60,
    stdin: str = "",
) -> Result:
    """Run a short command and return what it printed."""
    try:
        done = subprocess.run(
            command,
            env=env,
            cwd=cwd,
            timeout=timeout,
            text=True,
            capture_output=True,
            input=stdin,
            check=False,
            errors="replace",
        )
    except (FileNotFoundError, PermissionError) as error:
        return Result(status=127, output=str(error))
    except subprocess.TimeoutExpired:
        return Result(status=124, output=f"no answer within {timeout:.0f} s")
    return Result(status=done.returncode, output=done.stdout + done.stderr, answer=done.stdout)


def run(
    command: Sequence[str],
    *,
    doing: str,
    fix: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
) -> str:
    """Run a long command with the elapsed time on screen and return its output.

    Raises BootstrapError with the end of the output when it fails.
    """
    result = attempt(command, doing=doing, env=env, cwd=cwd)
    if not result.ok:
        raise BootstrapError(f"exit status {result.status}", fix=fix, command=command, log=result.output)
    return result.output


def attempt(
    command: Sequence[str],
    *,
    doing: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float | None = None,
) -> Result:
    """Run a long command with the elapsed time on screen, for at most `timeout` seconds.

    How it ended is the caller's to judge.
    """
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, env=env, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        except (FileNotFoundError, PermissionError) as error:
            return Result(status=127, output=str(error))
        status = _wait(process, Progress(doing), log, timeout)
        return Result(status=status, output=_tail(log, size=64_000))


def _wait(process: subprocess.Popen[bytes], progress: Progress, log: IO[bytes], timeout: float | None) -> int:
    waited = 0.0
    try:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                waited += 1
            if timeout is not None and waited >= timeout:
                return 124
            progress.update(_tail(log, size=200).rstrip().rpartition("\n")[2])
    finally:
        _stop(process)
        progress.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a command that was interrupted or took too long, so that nothing goes on unseen."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def _tail(log: IO[bytes], *, size: int) -> str:
    length = log.seek(0, 2)
    log.seek(max(0, length - size))
    text = log.read().decode(errors="replace")
    log.seek(0, 2)
    return text
