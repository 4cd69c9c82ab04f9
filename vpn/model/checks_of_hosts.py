"""Troubles of hosts and of this machine: engines, tools, clocks, and who delivers configs."""

import re
from collections.abc import Iterator
from itertools import combinations

from vpn.model.checkup import UP_FIX, Checkup, Finding

MOST_SKEW = 1.0  # seconds: new keys take effect by the hosts' clocks, in less than that
LEAST_ENGINE = (20, 10)


def engines(checkup: Checkup) -> Iterator[Finding]:
    """An engine that does not answer."""
    for name, host in checkup.facts.hosts.items():
        if host.complaint:
            docker = checkup.outputs["hosts"][name]["docker"]
            where = f"`docker --host {docker} version` tries it" if docker else "set DOCKER_HOST if it is elsewhere"
            yield Finding(
                place=f"host {name}",
                trouble="the Docker engine does not answer",
                found=host.complaint,
                fix=f"start the engine; {where}",
            )


def carriers(checkup: Checkup) -> Iterator[Finding]:
    """A host where nobody delivers configs."""
    for name, host in checkup.facts.hosts.items():
        if host.report_complaint:
            found = host.report_complaint
            yield Finding(place=f"host {name}", trouble="nobody delivers configs there", found=found, fix=UP_FIX)


def versions(checkup: Checkup) -> Iterator[Finding]:
    """Tools that are missing or too old."""
    for name, version in checkup.versions.items():
        if not version:
            yield Finding(
                place="this machine",
                trouble=f"there is no {name}",
                found="it is not on PATH",
                fix="`make up` gets what is missing; else install it",
                hint=True,
            )
        elif name.startswith("engine ") and _number(version) < LEAST_ENGINE:
            yield Finding(
                place=name.replace("engine ", "host "),
                trouble="the Docker engine is old",
                found=version,
                fix=f"install {'.'.join(map(str, LEAST_ENGINE))} or newer",
            )


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def clocks(checkup: Checkup) -> Iterator[Finding]:
    """Clocks that differ: of two hosts, and of a host and this machine."""
    fix = "keep both in step (NTP): new keys take effect by the clocks, and WireGuard refuses handshakes of the past"
    skews = {f"host {name}": host.skew for name, host in checkup.facts.hosts.items() if host.report}
    for (one, here), (other, there) in combinations([("this machine", 0.0), *skews.items()], 2):
        apart = there - here
        if abs(apart) > MOST_SKEW:
            found = f"{other} is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} {one}"
            yield Finding(place=other, trouble="clocks differ", found=found, fix=fix)
