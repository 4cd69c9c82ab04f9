"""python3 -m udp_over_tcp: carry what the settings say until stopped; python3 -m udp_over_tcp health: how it goes."""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path

from udp_over_tcp.relay import Relay
from udp_over_tcp.settings import Link, SettingsError, load

CONFIG = Path("/etc/udp-over-tcp")
APPLIED = CONFIG / "applied"
STATE = Path("/run/state.json")
POLL = 0.5  # seconds
STALE = 30  # seconds


async def main() -> None:
    """Run until stopped; look for other settings twice a second."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    relay = Relay()
    retract()  # said by a life before this one
    while not stopped.is_set():
        report(await turn(relay), relay)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), POLL)
    retract()
    await relay.close()


async def turn(relay: Relay) -> str:
    """Have the links that the settings want, and acknowledge them; what is wrong."""
    try:
        links, sums = wanted()
        complaint = await relay.have(links)
        if not complaint:
            acknowledge(sums)
    except (SettingsError, OSError) as error:
        complaint = str(error)
    return complaint


# --- the exchange with the config carrier


def wanted() -> tuple[frozenset[Link], bytes]:
    """The settings and their checksums, with the question for them withdrawn. Raises SettingsError."""
    (CONFIG / "asked").unlink(missing_ok=True)
    return load(CONFIG)


def acknowledge(checksums: bytes) -> None:
    """Tell that the settings with these checksums are in effect."""
    if not APPLIED.exists() or APPLIED.read_bytes() != checksums:
        APPLIED.write_bytes(checksums)


def retract() -> None:
    """Tell that no settings are in effect."""
    APPLIED.unlink(missing_ok=True)


# --- health


def report(complaint: str, relay: Relay) -> None:
    """Leave for `health` how it goes."""
    STATE.write_text(json.dumps({"uptime": uptime(), "complaint": complaint, "links": relay.states()}))


def uptime() -> float:
    """Seconds since this machine started (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])


def health() -> int:
    """Say how the links are; 0 if all that are wanted are open."""
    if not STATE.exists():
        print("not started yet")
        return 1
    state = json.loads(STATE.read_text())
    silence = uptime() - state["uptime"]
    complaint = state["complaint"] or (f"no sign of life for {silence:.0f} s" if silence > STALE else "")
    print(f"failed: {complaint}" if complaint else "\n".join(f"{name}: {how}" for name, how in state["links"].items()))
    return 1 if complaint else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["health"]:
        sys.exit(health())
    asyncio.run(main())
