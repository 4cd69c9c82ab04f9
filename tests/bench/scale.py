"""What a mesh of N nodes costs: to bring up, to leave as it is, to add a node to, to keep, to destroy.

A node is added without refresh: that asks Docker about everything, and would be most of the time.
"""

from collections.abc import Callable, Mapping, Sequence

from tests.bench import idle
from tests.bench.neighbors import room
from tests.bench.shell import say, seconds
from tests.bench.stack import Stack, config
from tests.bench.table import Row, Target

UP, AGAIN, TRUSTING, DESTROY = "up", "up again, no change", "up again, no refresh", "destroy"
STATUS = "vpn status"
STATUS_TARGET = Target(limit=2)  # seconds, up to 50 nodes
ADD = "add a node, no refresh"
ADD_TARGET = Target(limit=20)  # seconds, up to 50 nodes
NONE_REPLACED = Target(limit=0)
MEMORY_TARGET = Target(limit=10)  # MiB


class Mesh:
    """A mesh of one size, and what was measured on it."""

    def __init__(self, stack: Stack, size: int) -> None:
        self.stack = stack
        self.size = size
        self.times: dict[str, list[float]] = {UP: [], AGAIN: [], TRUSTING: [], ADD: [], STATUS: [], DESTROY: []}
        self.replaced: list[float] = []

    def take(self, step: str, action: Callable[[], None]) -> None:
        """Time one step."""
        self.times[step].append(seconds(action))
        say(f"{self.size} nodes: {step}: {self.times[step][-1]:.1f} s")

    def add(self) -> None:
        """Add a node, and count which of the others' containers are not the ones they were."""
        before = self.stack.nodes()
        self.stack.configure(config(self.size + 1))
        self.take(ADD, self.trusting_up)
        self.replaced.append(replaced(before, self.stack.nodes()))

    def remove(self) -> None:
        """Take the added node away."""
        self.stack.configure(config(self.size))
        self.trusting_up()

    def trusting_up(self) -> None:
        """Bring up what is configured, without refresh."""
        self.stack.up(refresh=False)


def replaced(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """How many containers are gone or new under the same name."""
    return sum(after.get(name) != identity for name, identity in before.items())


def measure(stack: Stack, size: int, rounds: int, idle_seconds: float) -> list[Row]:
    """Take a mesh of one size through its life."""
    with room(size + 1):
        return _measure(Mesh(stack, size), rounds, idle_seconds)


def _measure(mesh: Mesh, rounds: int, idle_seconds: float) -> list[Row]:
    stack, size = mesh.stack, mesh.size
    stack.configure(config(size))
    mesh.take(UP, stack.up)
    resources = stack.resources()
    for _ in range(rounds):
        mesh.take(AGAIN, stack.up)
        mesh.take(TRUSTING, mesh.trusting_up)
    used = _idle(mesh, idle_seconds)
    for _ in range(rounds):
        mesh.take(STATUS, stack.look)
    mesh.add()
    for _ in range(rounds - 1):
        mesh.remove()
        mesh.add()
    mesh.take(DESTROY, stack.destroy)
    return _rows(mesh, resources, used)


def _idle(mesh: Mesh, wait: float) -> idle.Idle:
    say(f"{mesh.size} nodes: leaving them alone for {wait:.0f} s")
    return idle.watch(sorted(mesh.stack.nodes()), wait)


def _rows(mesh: Mesh, resources: int, used: idle.Idle) -> list[Row]:
    def row(name: str, unit: str, samples: Sequence[float], target: Target | None = None) -> Row:
        return Row(name=f"{mesh.size} nodes: {name}", unit=unit, samples=samples, target=target)

    return [
        row("resources", "", [resources]),
        row(UP, "s", mesh.times[UP]),
        row(AGAIN, "s", mesh.times[AGAIN]),
        row(TRUSTING, "s", mesh.times[TRUSTING]),
        row(ADD, "s", mesh.times[ADD], ADD_TARGET),
        row("nodes replaced by that", "", mesh.replaced, NONE_REPLACED),
        row(STATUS, "s", mesh.times[STATUS], STATUS_TARGET),
        row(DESTROY, "s", mesh.times[DESTROY]),
        row("idle memory of a node", "MiB", used.memory, MEMORY_TARGET),
        row("its processes' resident sizes", "MiB", used.resident),
        row("its processor time", "ms/s", used.processor),
    ]
