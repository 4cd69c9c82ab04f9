"""One failure of a registry does not end a long run; a lasting one does, with its own reason."""

import pytest

from bootstrap import retry
from bootstrap.failure import BootstrapError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0)


class Registry:
    """Answers after so many failures."""

    def __init__(self, failures: int) -> None:
        self.failures, self.asked = failures, 0

    def answer(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise BootstrapError("exit status 1", fix="wait", log=f"connecting\n502 at try {self.asked}")
        return "package"


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_it_is_tried_until_it_answers(failures: int, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(failures)
    assert retry.persistently(registry.answer) == "package"
    assert registry.asked == failures + 1
    said = [f"  failed: 502 at try {number}; trying again" for number in range(1, failures + 1)]
    assert capsys.readouterr().err.splitlines() == said


def test_a_lasting_failure_is_told_in_full() -> None:
    registry = Registry(9)
    with pytest.raises(BootstrapError, match="exit status 1") as caught:
        retry.persistently(registry.answer)
    assert registry.asked == 3
    assert "502 at try 3" in str(caught.value)
