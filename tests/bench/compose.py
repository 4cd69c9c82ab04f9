"""Two nodes by Pulumi beside the same two nodes by docker-compose, until the first ping crosses the tunnel.

Compose gets the ready configuration as a file; Pulumi derives it from its state.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bootstrap.failure import BootstrapError
from tests.bench import compose_file
from tests.bench.engine import NODE_IMAGE, PREFIX, containers, wait_for_ping
from tests.bench.shell import BenchError, run, say, seconds
from tests.bench.stack import Stack, config, container
from tests.bench.table import Row, Target
from tests.compose import compose_command
from vpn.components.container import GRACE_SECONDS

CARRIER = f"{PREFIX}-config"
STEP_SECONDS = 120
UP, AGAIN, TRUSTING, DESTROY = "up", "up again, no change", "up again, no refresh", "destroy"
TARGETS = {UP: Target(limit=3)}

Steps = Mapping[str, Callable[[], None]]


class Compose:
    """The mesh as a docker-compose project."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        """Write down what the stack runs; nothing is started."""
        self._command = (*_command(), "--project-name", PREFIX, "--file", str(folder / "compose.json"))
        self._ping = (container(stack.topology.nodes[0].name), str(stack.topology.nodes[-1].address))
        document = compose_file.document(sorted(containers(f"{PREFIX}-")), CARRIER, NODE_IMAGE, folder)
        self.services = document["services"]
        (folder / "compose.json").write_text(json.dumps(document))

    def up(self) -> None:
        """`docker-compose up`, until the first node reaches the last through the tunnel."""
        run([*self._command, "up", "--detach"], timeout=STEP_SECONDS)
        wait_for_ping(*self._ping)

    def check(self) -> None:
        """Raise BenchError when what runs is not what the stack ran."""
        for name, wanted in self.services.items():
            told = compose_file.differences(wanted, name, NODE_IMAGE)
            if told:
                raise BenchError(f"compose made {name} differently: {told}")

    def destroy(self) -> None:
        """`docker-compose down`."""
        run([*self._command, "down", "--volumes", "--timeout", str(GRACE_SECONDS)], timeout=STEP_SECONDS)


def measure(stack: Stack, folder: Path, rounds: int) -> list[Row]:
    """Bring the mesh up, again, and down by one and by the other, round by round."""
    other = _same_by_compose(stack, folder)
    sides: list[tuple[str, Steps]] = [("pulumi", _by_pulumi(stack)), ("compose", _by_compose(other))]
    times: dict[str, list[dict[str, float]]] = {"pulumi": [], "compose": []}
    for number in range(rounds):
        for name, steps in sides if number % 2 == 0 else reversed(sides):
            say(f"compose, round {number + 1} of {rounds}: {name}")
            times[name].append({step: _told(step, action) for step, action in steps.items()})
    return [_row(step, times["pulumi"], times["compose"]) for step in (UP, AGAIN, TRUSTING, DESTROY)]


def _same_by_compose(stack: Stack, folder: Path) -> Compose:
    say("compose: bringing up the stack, to write it down for compose")
    stack.configure(config(2))
    stack.up()
    other = Compose(folder, stack)
    stack.destroy()
    say("compose: is it the same?")
    other.up()
    other.check()
    other.destroy()
    return other


def _by_pulumi(stack: Stack) -> Steps:
    """A life of the mesh."""
    return {UP: stack.up, AGAIN: stack.up, TRUSTING: lambda: stack.up(refresh=False), DESTROY: stack.destroy}


def _by_compose(other: Compose) -> Steps:
    return {UP: other.up, AGAIN: other.up, TRUSTING: other.up, DESTROY: other.destroy}


def _told(step: str, action: Callable[[], None]) -> float:
    taken = seconds(action)
    say(f"  {step}: {taken:.1f} s")
    return taken


def _row(step: str, ours: Iterable[Mapping[str, float]], theirs: Iterable[Mapping[str, float]]) -> Row:
    samples, reference = ([life[step] for life in lives] for lives in (ours, theirs))
    values: dict[str, Any] = {"samples": samples, "reference": reference, "target": TARGETS.get(step)}
    return Row(name=f"2 nodes: {step}", unit="s", against="compose", **values)


def _command() -> tuple[str, ...]:
    try:
        return compose_command()
    except BootstrapError as error:
        raise BenchError(str(error)) from None
