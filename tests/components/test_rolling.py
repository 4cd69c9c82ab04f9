"""Members of a cluster are replaced one after another, whatever an `up` before left behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pulumi
import pytest

from vpn.components import rolling
from vpn.components.rolling import MIB, Member, back_after_create, in_turn
from vpn.model.hosts import LOCAL

OLD, NEW, MEMORY = "sha256:old", "sha256:new", 512


@dataclass(frozen=True, kw_only=True)
class Fake(Member):
    """A member whose container is only told of."""

    well: bool = True
    primary: bool = False
    image: str = OLD
    restarts: int = 0

    def _run(self, *command: str, seconds: float) -> tuple[int, str]:
        assert seconds >= 0
        if command[0] == "is-primary":
            return (0, "") if self.primary else (1, "")
        return (0, "ok") if self.well else (1, "failed: etcd has no leader")

    def _inspect(self) -> Mapping[str, Any]:
        return {"Image": self.image, "HostConfig": {"Memory": MEMORY * MIB}, "RestartCount": self.restarts}


def fake(name: str, **more: Any) -> Fake:
    return Fake(container=name, host=LOCAL, **more)


def test_who_is_not_well_goes_first_and_the_primary_last() -> None:
    a, b, c = fake("a", primary=True), fake("b"), fake("c", well=False)
    assert in_turn([a, b, c]) == [c, b, a]


def check(member: Member, *others: Member, image: str = NEW, memory: int = MEMORY) -> None:
    with patch.object(rolling, "BACK_SECONDS", 0):
        rolling._check(image, memory, member, others)  # noqa: SLF001 (an apply calls it)


def test_a_member_is_not_replaced_while_another_is_not_well() -> None:
    with pytest.raises(pulumi.RunError, match=r"a is to be replaced.*c is not well: failed: etcd has no leader"):
        check(fake("a"), fake("b"), fake("c", well=False))
    with pytest.raises(pulumi.RunError):
        check(fake("a"), fake("c", well=False), image=OLD, memory=2 * MEMORY)


def test_what_is_not_replaced_or_not_well_itself_is_let_through() -> None:
    ill = fake("c", well=False)
    check(fake("a"), ill, image=OLD)
    check(fake("a", well=False), ill)
    check(fake("a"), fake("b"))


def test_a_container_that_restarts_again_and_again_is_not_waited_for() -> None:
    assert fake("a", well=False, restarts=10).await_well(300) == "failed: etcd has no leader"


def test_the_next_is_not_touched_before_a_member_is_back() -> None:
    with patch.object(rolling, "BACK_SECONDS", 0), patch("pulumi.ResourceHook") as hook:
        back_after_create(fake("a", well=False))
        wait = hook.call_args.args[1]
        with pytest.raises(pulumi.RunError, match="a is not back in the cluster, so no other is touched: failed"):
            wait(None)
