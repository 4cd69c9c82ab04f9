"""What a user reads when something fails."""

import os
import sys

import pytest

from bootstrap import __main__ as program
from bootstrap import command
from bootstrap.console import step
from bootstrap.failure import LOG_LINES, BootstrapError

BROKEN = [sys.executable, "-c", "print('\\n'.join(f'line {n}' for n in range(40))); raise SystemExit(3)"]


def test_a_failure_names_step_command_log_and_fix() -> None:
    with pytest.raises(BootstrapError) as caught, step("Some step"):
        command.run(BROKEN, doing="breaking", fix="do it by hand", env=os.environ)
    text = str(caught.value)
    assert text.startswith("Some step failed: exit status 3")
    assert f"command: {sys.executable} -c" in text
    assert text.endswith("by hand: do it by hand")
    assert "| line 39" in text
    assert text.count("| line ") == LOG_LINES


def test_the_innermost_step_is_named() -> None:
    with pytest.raises(BootstrapError) as caught, step("outer"), step("inner"):
        raise BootstrapError("broken", fix="mend it")
    assert str(caught.value).startswith("inner failed: broken")


def test_a_missing_program_is_a_failure_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BootstrapError, match="no-such-program"):
        command.run(["no-such-program"], doing="x", fix="install it", env=os.environ)
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_that_takes_too_long_is_ended() -> None:
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert command.attempt(slow, doing="waiting", env=os.environ, timeout=1).status == 124
    assert command.ask(slow, env=os.environ, timeout=0.2).status == 124


def test_an_expected_failure_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> dict[str, str]:
        raise BootstrapError("broken", fix="mend it")

    monkeypatch.setattr(program, "prepare", fail)
    assert program.main(["up"]) == 1
    assert "by hand: mend it" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(**_: object) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "prepare", interrupt)
    assert program.main(["run", "--", "true"]) == 130
    assert "run the same command again" in capsys.readouterr().err
