"""member postgres|etcd|haproxy|backup: run that part of the cluster until stopped.

member health: say how it goes; fail if the last look found something wrong, or is long ago.
member state: tell as JSON how it goes and what Patroni knows of all members; no secret is in it.
member is-primary: succeed if the PostgreSQL here is the primary.
member await SECONDS: succeed once it goes well, or when nothing was ever delivered that it could run by.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from postgres_cluster import init
from postgres_cluster.backup import Backup
from postgres_cluster.delivery import Delivery, DeliveryError
from postgres_cluster.etcd import Etcd
from postgres_cluster.haproxy import Haproxy
from postgres_cluster.part import Part
from postgres_cluster.postgres import Postgres

CONFIG = Path("/etc/cluster")
STATE = Path("/run/state.json")
PARTS: dict[str, type[Part]] = {"postgres": Postgres, "etcd": Etcd, "haproxy": Haproxy, "backup": Backup}
TICK = 1.0  # seconds between two looks
POLL = 0.1  # seconds between two looks for a question
OTHER_VERSION = "what was delivered is of another version"
STALE = 60  # seconds; a look that restarts PostgreSQL takes some


def main(kind: str) -> int:
    """Run until stopped, or until the process ends; its exit status."""
    delivery, part = Delivery(CONFIG), PARTS[kind]()
    delivery.retract()  # said by a life before this one
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _run(delivery, part)
    except _Stopped:
        part.stop()
        return 0
    finally:
        delivery.retract()


class _Stopped(BaseException):
    pass


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def _run(delivery: Delivery, part: Part) -> int:
    said = ""
    while part.status() is None:
        complaint = _look(delivery, part)
        _report(complaint)
        if complaint != said:
            print(complaint or "ok", flush=True)
        said = complaint
        until = time.monotonic() + TICK
        while time.monotonic() < until and not delivery.asked:
            time.sleep(POLL)
    print(f"the process ended with status {part.status()}", flush=True)
    return 1


def _report(complaint: str) -> None:
    """For `health` and `await`, which may read at any moment."""
    draft = STATE.with_suffix(".new")
    draft.write_text(json.dumps({"uptime": _uptime(), "complaint": complaint}))
    draft.replace(STATE)


def _look(delivery: Delivery, part: Part) -> str:
    """Make it so, and acknowledge; what is wrong."""
    try:
        delivery.withdraw_question()
        files, sums = delivery.load()
        complaint = _accepted(part, files) or part.converge()
    except (DeliveryError, OSError) as error:
        return str(error)
    except (KeyError, TypeError, ValueError) as error:  # an answer of another form; PostgreSQL goes on
        return repr(error)
    if not complaint:
        delivery.acknowledge(sums)
    return complaint


def _accepted(part: Part, files: dict[str, bytes]) -> str:
    try:
        part.accept(files)
    except KeyError as error:
        return f"{OTHER_VERSION}: {error} is missing"
    return ""


def _uptime() -> float:
    """Seconds since this machine started (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])


def health() -> int:
    """Say how it goes; 0 if well."""
    complaint = _complaint()
    print(f"failed: {complaint}" if complaint else "ok")
    return 1 if complaint else 0


def is_primary() -> int:
    """0 if the PostgreSQL here is the primary."""
    part, delivery = Postgres(), Delivery(CONFIG)
    try:
        part.read(delivery.load()[0])
        return 0 if part.is_primary() else 1
    except (DeliveryError, OSError, KeyError) as error:  # KeyError: it is no PostgreSQL
        print(repr(error))
        return 1


def state() -> int:
    """What this member knows of itself and the others."""
    part, delivery = Postgres(), Delivery(CONFIG)
    found: dict[str, Any] = {"complaint": _complaint()}
    try:
        part.read(delivery.load()[0])
        found |= part.told()
    except (DeliveryError, OSError) as error:
        found["complaint"] = found["complaint"] or str(error)
    print(json.dumps(found))
    return 0


def _complaint() -> str:
    if not STATE.exists():
        return "no look yet"
    state = json.loads(STATE.read_text())
    silence = _uptime() - state["uptime"]
    return str(state["complaint"]) or (f"no look for {silence:.0f} s" if silence > STALE else "")


def wait(seconds: int) -> int:
    """Wait until it goes well; what will not by itself, because its config is yet to come, is not waited for."""
    deadline = time.monotonic() + seconds
    while complaint := _complaint():
        if not Delivery(CONFIG).delivered or complaint.startswith(OTHER_VERSION):
            return 0
        if time.monotonic() > deadline:
            print(f"not well after {seconds} s: {complaint}")
            return 1
        time.sleep(POLL)
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["health"]:
            sys.exit(health())
        case ["await", seconds]:
            sys.exit(wait(int(seconds)))
        case ["state"]:
            sys.exit(state())
        case ["is-primary"]:
            sys.exit(is_primary())
        case [kind] if kind in PARTS:
            sys.exit(init.run(lambda: main(kind)))
        case _:
            sys.exit(__doc__)
