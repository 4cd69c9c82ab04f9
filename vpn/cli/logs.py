"""vpn logs: what everything of the mesh says, in one stream, by time."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from heapq import merge
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import docker
from vpn.cli import look, mesh
from vpn.cli.failure import CliError
from vpn.cli.options import JsonOption, MeshOption, StackOption
from vpn.engines import Engine, connected
from vpn.model.facts import Outputs
from vpn.model.hosts import Host
from vpn.model.untrusted import shown

SECONDS = 15  # for an answer of an engine
TOGETHER = 0.3  # seconds in which lines are put in order while they come
AGAIN = 1  # seconds until a stream that ended is opened anew
DURATION = re.compile(r"(\d+)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
SINCE_FIX = "write it like 90s, 10m, 2h or 1d"
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Nodes, relays, workloads ...; all when left out.")
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="How far back, like 10m.")]
TailOption = Annotated[
    int | None, typer.Option(min=0, help="So many of the last lines of each; 100, or with --since all, when left out.")
]
ALL, LATEST = "all", 100


@dataclass(frozen=True, order=True)
class Line:
    """Something that was said."""

    time: str
    """As Docker writes it (RFC 3339, in UTC, with nanoseconds), so that its order is that of time."""
    name: str
    text: str


@dataclass(frozen=True)
class Source:
    """Who says it."""

    name: str
    """In the mesh; with its host where several have one."""
    container: str
    host: Host


def logs(  # noqa: PLR0913 (each is an option)
    names: NamesArgument = None,
    stack: StackOption = "dev",
    mesh_file: MeshOption = None,
    *,
    follow: FollowOption = False,
    since: SinceOption = None,
    tail: TailOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the logs of everything of the mesh, or of what is named, merged by time."""
    outputs = mesh.outputs(mesh_file, stack)
    found, start = sources(outputs, names or []), _start(since)
    most = tail if tail is not None else ALL if since else LATEST
    width = max((len(one.name) for one in found), default=0)
    say = partial(_say, Console(soft_wrap=True, highlight=False), width, as_json)
    with ThreadPoolExecutor(look.AT_ONCE) as pool:
        read = list(pool.map(lambda one: past(one, start, most), found))
    last = {}
    for line in merge(*(lines for lines, _ in read)):
        say(line)
        last[line.name] = line.time
    if follow:
        _follow(found, last, say)
    complaints = sorted({complaint for _, complaint in read if complaint})
    if complaints:
        raise CliError("; ".join(complaints), fix="`vpn doctor` tells more")


def sources(outputs: Outputs, names: Sequence[str]) -> list[Source]:
    """Those of these names in the mesh, or of their containers. Raises CliError when there is none."""
    hosts, entries = look.hosts(outputs), outputs["containers"]
    known = {name for one in entries for name in (one["name"], one["container"])}
    for name in names:
        if name in outputs["guests"]:
            raise CliError(f"{name} is in a confidential VM", fix="its logs are where it is deployed")
        if name not in known:
            raise CliError(f"there is no {name} in the mesh", fix=f"one of {', '.join(one['name'] for one in entries)}")
    count = [one["name"] for one in entries]
    return [
        Source(_called(one, several=count.count(one["name"]) > 1), one["container"], hosts[one["host"]])
        for one in entries
        if not names or one["name"] in names or one["container"] in names
    ]


def _called(entry: Mapping[str, Any], *, several: bool) -> str:
    return f"{entry['name']}@{entry['host']}" if several else str(entry["name"])


def _start(since: str | None) -> float:
    """Seconds since 1970; 0 for all there is. Raises CliError."""
    if since is None:
        return 0.0
    match = DURATION.fullmatch(since)
    if not match:
        raise CliError(f"--since {since} is no time", fix=SINCE_FIX)
    return time.time() - int(match[1]) * UNITS[match[2]]


def past(source: Source, start: float, tail: int | str) -> tuple[list[Line], str]:
    """What it said until now, and why that cannot be told."""
    try:
        with connected(source.host, SECONDS) as engine:
            said = engine.logs(source.container, timestamps=True, since=start or None, tail=tail)
    except (docker.errors.DockerException, OSError) as error:
        return [], f"{source.name}: {shown(str(error))}"
    return sorted(read(source.name, said.decode(errors="replace"))), ""


def read(name: str, text: str) -> Iterator[Line]:
    """Lines with Docker's timestamps. What they say cannot steer a terminal."""
    for line in text.removesuffix("\n").split("\n") if text else ():  # nothing else ends one: it is Docker's
        moment, _, said = line.partition(" ")
        yield Line(moment, name, shown(said))


# --- what comes


def _follow(found: Sequence[Source], last: Mapping[str, str], say: partial[None]) -> None:
    """Until somebody interrupts it."""
    lines: SimpleQueue[Line] = SimpleQueue()
    for one in found:
        Thread(target=_stream, args=(one, last.get(one.name, ""), lines), daemon=True).start()
    try:
        while True:
            for line in sorted(_batch(lines)):
                say(line)
    except KeyboardInterrupt:
        return


def _batch(lines: "SimpleQueue[Line]") -> Iterator[Line]:
    """What came at about the same time."""
    yield lines.get()
    end = time.monotonic() + TOGETHER
    while (left := end - time.monotonic()) > 0:
        try:
            yield lines.get(timeout=left)
        except Empty:
            return


def _stream(source: Source, last: str, lines: "SimpleQueue[Line]") -> None:
    """Hand on what it says after a moment; it may end, and begin anew."""
    pause = Event()
    while True:
        try:
            with connected(source.host, SECONDS) as engine:
                for line in _coming(engine, source, last):
                    last = line.time
                    lines.put(line)
        except (docker.errors.DockerException, OSError):
            pass  # it was removed, or its engine is away: perhaps not for long
        pause.wait(AGAIN)


def _coming(engine: Engine, source: Source, last: str) -> Iterator[Line]:
    """Docker's `since` is in whole seconds here, so what was said before is left out by its time."""
    begin = {"since": int(datetime.fromisoformat(f"{last[:19]}+00:00").timestamp())} if last else {"tail": 0}
    said = engine.logs(source.container, timestamps=True, stream=True, follow=True, **begin)
    for chunk in said:
        for line in read(source.name, chunk.decode(errors="replace")):
            if line.time > last:
                yield line


def _say(console: Console, width: int, as_json: bool, line: Line) -> None:  # noqa: FBT001 (bound once)
    if as_json:
        print(json.dumps(asdict(line)), flush=True)
        return
    colour = COLOURS[sum(line.name.encode()) % len(COLOURS)]
    console.print(Text.assemble((line.time[:23], "dim"), " ", (line.name.ljust(width), colour), f" {line.text}"))
