"""Measures the mesh and says whether it is good enough: python -m tests.bench.

Everything runs on the Docker engine that the docker command reaches, in containers, networks and volumes of its own
(vpnbench-...), on a copy of the project with a Pulumi backend of its own. All of it goes when the bench ends.
"""

import argparse
import fcntl
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from docker.errors import DockerException

from tests.bench import compose, engine, policy, postgres, scale, table, throughput, transport
from tests.bench.shell import BenchError, say
from tests.bench.stack import Stack, config, node_image

PARTS = ("throughput", "transport", "policy", "compose", "scale", "postgres")
MOST_NODES = 200
IMAGE_CONTEXT = Path(__file__).parent / "image"


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 1 when it fails or a target is missed."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        rows = run(options)
    except (BenchError, DockerException) as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 128 + signal.SIGINT
    return report(rows, options.json)


def run(options: argparse.Namespace) -> list[table.Row]:
    """Measure one part after the other."""
    rows: list[table.Row] = []
    with workshop() as folder:
        stack = Stack(folder)
        warm_up(stack)
        for part in options.parts:
            rows += measurements(options, stack, folder)[part]()
    return rows


def measurements(options: argparse.Namespace, stack: Stack, folder: Path) -> dict[str, Callable[[], list[table.Row]]]:
    """How each part is measured."""
    return {
        "throughput": lambda: throughput.measure(stack, options.rounds, options.seconds),
        "transport": lambda: transport.measure(stack, options.rounds, options.seconds),
        "policy": lambda: policy.measure(stack, options.rounds, options.seconds),
        "postgres": lambda: postgres.measure(stack, options.rounds, options.seconds, options.faults),
        "compose": lambda: compose.measure(stack, folder, options.rounds),
        "scale": lambda: [
            row for size in options.sizes for row in scale.measure(stack, size, options.rounds, options.idle)
        ],
    }


def warm_up(stack: Stack) -> None:
    """Have the images built and Pulumi's plugins read from disk, which no measurement shall include."""
    say("warming up: a stack of one node")
    stack.configure(config(1))
    stack.up()
    engine.build(node_image(), str(IMAGE_CONTEXT))
    stack.destroy()


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder and an engine without anything of the bench's, before and after."""
    with alone(Path(tempfile.gettempdir()) / f"{engine.PREFIX}.lock"):
        engine.clean()
        with tempfile.TemporaryDirectory(prefix=f"{engine.PREFIX}-") as folder:
            try:
                yield Path(folder)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                say("cleaning up")
                engine.clean()


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Two benches would take each other's containers for leftovers. Raises BenchError when another one runs."""
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another bench runs on this machine: it holds {lock}") from None
        yield


def report(rows: Sequence[table.Row], path: Path | None) -> int:
    """Show and save what was measured, and which targets were missed."""
    table.show(rows, f"dstack-vpn on {os.cpu_count()} cores, Linux {platform.release()}")
    if path:
        machine = {"cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}
        path.write_text(json.dumps({"machine": machine, "rows": [row.as_json() for row in rows]}, indent=2) + "\n")
    missed = [row.name for row in rows if not row.met]
    print(f"missed: {'; '.join(missed)}" if missed else "every target is met")
    return 1 if missed else 0


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    result = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    result.add_argument("--sizes", type=_numbers, default=[2, 10, 50], metavar="N,N", help="nodes (default: 2,10,50)")
    result.add_argument("--rounds", type=int, default=3, help="how often each comparison is made (default: 3)")
    result.add_argument("--parts", type=_parts, default=PARTS, metavar="PART,PART", help=f"some of {', '.join(PARTS)}")
    result.add_argument("--seconds", type=int, default=3, choices=range(2, 11), help="of one transfer (default: 3)")
    result.add_argument("--idle", type=float, default=30, help="seconds before memory is read (default: 30)")
    result.add_argument("--faults", type=int, default=600, help="seconds of random faults (default: 600; 0: none)")
    result.add_argument("--quick", action=Quick, help="one round, two nodes, short transfers: to see that it works")
    result.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to a file, too")
    return result


class Quick(argparse.Action):
    """Sets what makes it quick; options after it still count."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=more["help"])

    def __call__(self, _: argparse.ArgumentParser, namespace: argparse.Namespace, *__: object) -> None:
        vars(namespace).update(sizes=[2], rounds=1, seconds=2, idle=5, faults=60)


def _numbers(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and 2 <= int(word) <= MOST_NODES for word in words):
        raise argparse.ArgumentTypeError(f"sizes are numbers from 2 to {MOST_NODES}, joined by commas")
    return [int(word) for word in words]


def _parts(text: str) -> list[str]:
    words = text.split(",")
    if not set(words) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(PARTS)}")
    return words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
