"""What rules cost: the same two nodes with and without them, in turn and in one run."""

from typing import Any

from tests.bench.engine import clear
from tests.bench.shell import say
from tests.bench.stack import Stack, config
from tests.bench.table import Row, Target
from tests.bench.throughput import OWN, Line, at_node

ON, OFF = "with 12 rules", "without rules"
PORT = 5201  # of iperf3
RULES: list[dict[str, Any]] = [
    {"from": "node-2", "to": "node-1", "ports": [PORT, *range(6000, 6010)]},
    *({"from": "node-1", "to": "node-2", "ports": f"tcp/{port}-{port + 5}"} for port in range(7000, 7100, 10)),
    {"from": "node-1", "to": "node-2", "ports": "udp/53"},
]
TARGET = Target(limit=0.9, at_least=True)
TRANSFERS = 4  # in a round: many short ones, because what else the machine does comes and goes


def measure(stack: Stack, rounds: int, duration: int) -> list[Row]:
    """Change the rules of a running mesh before every transfer, and take it down in the end."""
    found: dict[str, list[float]] = {ON: [], OFF: []}
    try:
        line = None
        for number in range(rounds * TRANSFERS):
            for how in sorted(found, reverse=number % 2 == 1):
                stack.configure(config(2) | {"rules": RULES if how == ON else []})
                stack.up(refresh=False)
                line = line or _line(stack)
                found[how].append(line.measure(duration))
                say(f"policy, {number + 1} of {rounds * TRANSFERS}: {how}: {found[how][-1]:.0f} Mbit/s")
    finally:
        clear(OWN)
        stack.destroy()
    values: dict[str, Any] = {"samples": found[ON], "reference": found[OFF], "target": TARGET}
    return [Row(name=f"tunnel {ON}: throughput", unit="Mbit/s", against=OFF, **values)]


def _line(stack: Stack) -> Line:
    at_node("node-1")
    return Line(client=at_node("node-2", "sleep", "infinity"), address=str(stack.topology.node("node-1").address))
