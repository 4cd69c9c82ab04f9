"""A link over TCP beside one over UDP, in one mesh and one run: from the second and the third node to the first."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from tests.bench.engine import clear, execute
from tests.bench.idle import processor_time
from tests.bench.shell import say
from tests.bench.stack import Stack, config, container
from tests.bench.table import Row, Target
from tests.bench.throughput import MEGA, OWN, Line, at_node
from vpn.model.topology import proxy_name

TCP, UDP = "over TCP", "over UDP"
CLIENTS = {TCP: "node-2", UDP: "node-3"}
LINKS = {"links": [{"between": ["node-1", "node-2"], "transport": "tcp"}]}
TARGET = Target(limit=0.6, at_least=True)
TRANSFERS = 4  # in a round: many short ones, because what else the machine does comes and goes
PINGS = 300
SMALL = 64  # bytes
GIGA = 1000 * MEGA


@dataclass
class Found:
    """What was measured of one transport."""

    throughput: list[float] = field(default_factory=list)
    """Mbit/s."""
    packets: list[float] = field(default_factory=list)
    """Small ones a second."""
    typical: list[float] = field(default_factory=list)
    """Median round trip in ms."""
    slow: list[float] = field(default_factory=list)
    """99th percentile of the round trip in ms."""


def measure(stack: Stack, rounds: int, duration: int) -> list[Row]:
    """Bring the mesh up, measure both links in turn, and take it down again."""
    try:
        say("transport: bringing up the stack")
        stack.configure(config(3) | LINKS)
        stack.up()
        address = str(stack.topology.node("node-1").address)
        at_node("node-1")
        lines = {how: Line(client=at_node(node, "sleep", "infinity"), address=address) for how, node in CLIENTS.items()}
        return _in_turn(lines, rounds, duration)
    finally:
        clear(OWN)
        stack.destroy()


def _in_turn(lines: dict[str, Line], rounds: int, duration: int) -> list[Row]:
    found = {how: Found() for how in lines}
    costs: list[float] = []
    for number in range(rounds * TRANSFERS):
        for how in sorted(lines, reverse=number % 2 == 1):
            before = _relays()
            found[how].throughput.append(lines[how].measure(duration))
            if how == TCP:  # iperf3 sends a second more than it counts
                costs.append((_relays() - before) / (found[how].throughput[-1] * (duration + 1) * MEGA / GIGA))
            say(f"transport, {number + 1} of {rounds * TRANSFERS}: {how}: {found[how].throughput[-1]:.0f} Mbit/s")
    for _ in range(rounds):
        for how, line in lines.items():
            found[how].packets.append(_small(line, duration))
            _ping(found[how], line)
    return _rows(found, costs)


def _rows(found: dict[str, Found], costs: list[float]) -> list[Row]:
    def row(name: str, unit: str, of: Callable[[Found], list[float]], target: Target | None = None) -> Row:
        values: dict[str, Any] = {"samples": of(found[TCP]), "reference": of(found[UDP]), "target": target}
        return Row(name=f"tunnel {TCP}: {name}", unit=unit, against=UDP, **values)

    return [
        row("throughput", "Mbit/s", lambda one: one.throughput, TARGET),
        row(f"packets of {SMALL} bytes", "1/s", lambda one: one.packets),
        row("round trip, median", "ms", lambda one: one.typical),
        row("round trip, 99 %", "ms", lambda one: one.slow),
        Row(name="both relays: processor time", unit="s/Gbit", samples=costs),
    ]


def _small(line: Line, duration: int) -> float:
    """Small packets that arrive in a second when as many as possible are sent."""
    flood = ("iperf3", "--json", "--udp", "--length", str(SMALL), "--bitrate", "0", "--time", str(duration))
    end = json.loads(execute(line.client, *flood, "--client", line.address, timeout=duration + 20))["end"]["sum"]
    return float((end["packets"] - end["lost_packets"]) / end["seconds"])


def _ping(found: Found, line: Line) -> None:
    told = execute(line.client, "ping", "-n", "-i", "0.01", "-c", str(PINGS), line.address)
    times = [float(one) for one in re.findall(r"time=([\d.]+) ms", told)]
    found.typical.append(median(times))
    found.slow.append(quantiles(times, n=100)[98])


def _relays() -> float:
    """Processor time of both relays so far, in seconds."""
    return processor_time([container(proxy_name(node)) for node in ("node-1", "node-2")])
