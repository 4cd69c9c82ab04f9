"""Troubles of containers: those that are not there or do not run well, and why."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vpn.model.checkup import UP_FIX, Checkup, Finding, Stopped
from vpn.model.facts import Seen
from vpn.model.status import container_trouble

RELAY = "relay"
PORT_TAKEN = re.compile(r"address already in use|port is already allocated")


def containers(checkup: Checkup) -> Iterator[Finding]:
    """Containers that are missing, stopped, paused, restarting or unhealthy; relays are told apart."""
    for entry, seen, why in broken(checkup):
        if entry["kind"] != RELAY:
            place, fix = f"{entry['kind']} {entry['name']}", _container_fix(seen, entry["container"])
            yield Finding(place=place, trouble=container_trouble(seen), found=_why(seen, why), fix=fix)


def relays(checkup: Checkup) -> Iterator[Finding]:
    """Relays that are down, and who depends on them."""
    for entry, seen, why in broken(checkup):
        if entry["kind"] == RELAY:
            node = entry["name"].removeprefix("mullvad-proxy-")
            fix = f"{_container_fix(seen, entry['container'])}; links of {node} over TCP wait for it"
            place = f"relay {entry['name']}"
            yield Finding(place=place, trouble=container_trouble(seen), found=_why(seen, why), fix=fix)


def broken(checkup: Checkup) -> Iterator[tuple[Mapping[str, Any], Seen | None, Stopped]]:
    """Containers that do not run well, but for those whose port is taken."""
    for entry in checkup.outputs["containers"]:
        host = checkup.facts.hosts.get(entry["host"])
        if host is None or host.complaint:
            continue
        seen = host.containers.get(entry["container"])
        why = checkup.stopped.get((entry["host"], entry["container"]), Stopped())
        if container_trouble(seen) and not PORT_TAKEN.search(why.error):
            yield entry, seen, why


def _why(seen: Seen | None, why: Stopped) -> str:
    if seen is None:
        return "somebody removed it"
    memory = "it was out of memory" if why.out_of_memory else ""
    said = f"its health check says: {why.said}" if why.said else ""
    return "; ".join(one for one in (why.error, memory, said) if one) or seen.status


def _container_fix(seen: Seen | None, container: str) -> str:
    if seen is None or seen.state in ("exited", "created", "dead"):
        return f"{UP_FIX}; `docker logs {container}` may say why it ended" if seen else UP_FIX
    if seen.state == "paused":
        return f"docker unpause {container}"
    return f"`docker logs {container}` says more; docker restart {container}"


def ports(checkup: Checkup) -> Iterator[Finding]:
    """A published port that another process has."""
    for (host, container), why in checkup.stopped.items():
        if PORT_TAKEN.search(why.error):
            yield Finding(
                place=f"{container} on host {host}",
                trouble="its port is taken",
                found=why.error,
                fix="end the process that has it (`ss -lnptu` on the host), or choose another hostPort or proxyPort, "
                "then `pulumi up`",
            )
