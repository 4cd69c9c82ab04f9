"""Troubles of what is beside the nodes: the access gate and the PostgreSQL cluster."""

from collections.abc import Iterator

from vpn.model.checks_of_containers import broken
from vpn.model.checkup import Checkup, Finding
from vpn.model.status import OK


def gates(checkup: Checkup) -> Iterator[Finding]:
    """An access gate that cannot read the chain."""
    for name, host in checkup.facts.hosts.items():
        if host.gate and not host.gate.startswith(OK):
            yield Finding(
                place=f"gate on host {name}",
                trouble="it cannot look at the chain",
                found=host.gate,
                fix="see whether the chain runs and answers; members are put out when the lease ends",
            )


def databases(checkup: Checkup) -> Iterator[Finding]:
    """A PostgreSQL cluster without a primary, with two, or with a member that is not well."""
    members = checkup.status.databases
    trouble = checkup.view.cluster_trouble()
    if trouble:
        yield Finding(
            place="PostgreSQL",
            trouble=trouble,
            found=", ".join(f"{one.name} is {one.role or 'not to be asked'}" for one in members),
            fix="two of three etcds and members have to run and reach each other: mend the nodes, and wait a minute",
        )
    stopped = {entry["name"] for entry, _, _ in broken(checkup)}
    for one in members:
        if one.trouble and one.name not in stopped:
            fix = f"`docker logs` of {one.name} says more; Patroni repairs what it can by itself"
            yield Finding(place=one.name, trouble="the member is not well", found=one.trouble, fix=fix)
