"""Troubles of nodes themselves: config, data plane, forwarding, keys."""

from collections.abc import Iterator

from vpn.model.checkup import Checkup, Finding, few
from vpn.model.status import OK, container_trouble

USERSPACE = "userspace"
TUN = "/dev/net/tun"


def configs(checkup: Checkup) -> Iterator[Finding]:
    """A config that was delivered, but is not what runs."""
    for host in checkup.facts.hosts.values():
        report = host.report
        for reader, wanted in report.wanted.items() if report else ():
            applied = report.applied.get(reader) if report else None
            if applied != wanted:
                said = f": {checkup.probes[reader].report.state}" if reader in checkup.probes else ""
                yield Finding(
                    place=reader,
                    trouble="its config is not applied",
                    found=f"it has {wanted} and goes by {applied or 'none'}{said}",
                    fix="mend what it says (`health` in its container), then `pulumi up`",
                )


def failures(checkup: Checkup) -> Iterator[Finding]:
    """A node that could not be made what it should be."""
    for name, probe in checkup.probes.items():
        if not probe.report.state.startswith(OK) and TUN not in probe.report.state:
            yield Finding(
                place=name,
                trouble="it is not as configured",
                found=probe.report.state or "it made no pass yet",
                fix=f"mend that; `docker logs {checkup.outputs['nodes'][name]['container']}` tells more",
            )


def unseen(checkup: Checkup) -> Iterator[Finding]:
    """A node that runs and does not let anybody look from inside: of it half of this is not known."""
    for name, why in checkup.unseen.items():
        container = checkup.outputs["nodes"][name]["container"]
        yield Finding(
            place=name,
            trouble="it cannot be looked at from inside",
            found=why,
            fix=f"`docker exec {container} report` tries it; docker restart {container}",
        )


def dataplanes(checkup: Checkup) -> Iterator[Finding]:
    """No WireGuard at all, or only the slower one."""
    for name, probe in checkup.probes.items():
        if TUN in probe.report.state or (not probe.report.dataplane and not probe.has_tun):
            yield Finding(
                place=name,
                trouble="there is no WireGuard",
                found=f"the kernel has none, and there is no {TUN}",
                fix="on its host: modprobe wireguard (or modprobe tun for the userspace one)",
            )
    slow = [name for name, probe in checkup.probes.items() if probe.report.dataplane.startswith(USERSPACE)]
    if slow:
        yield Finding(
            place=few(slow),
            trouble="WireGuard runs in userspace",
            found="it is slower than the kernel's",
            fix="on their hosts: modprobe wireguard, then restart the nodes",
            hint=True,
        )


def forwarding(checkup: Checkup) -> Iterator[Finding]:
    """A node whose kernel hands on no packets."""
    for name, probe in checkup.probes.items():
        if not probe.forwards:
            container = checkup.outputs["nodes"][name]["container"]
            yield Finding(
                place=name,
                trouble="it hands on no packets",
                found="net.ipv4.ip_forward is 0 in its network",
                fix=f"docker restart {container}: it starts with 1; then find who sets it",
            )


def keys(checkup: Checkup) -> Iterator[Finding]:
    """Keys that do not match: a node's own with what the stack says, and with what its peers have."""
    nodes = checkup.outputs["nodes"]
    for name, probe in checkup.probes.items():
        own = probe.report.public_key
        if own and own != nodes[name]["publicKey"]:
            yield Finding(
                place=name,
                trouble="its key is not the stack's",
                found=f"it has {own}, the stack says {nodes[name]['publicKey']}",
                fix=f"docker restart {nodes[name]['container']}; if it stays so, the outputs are old: `pulumi up`",
            )
        without = [
            peer
            for peer in nodes[name]["peers"]
            if own and peer in checkup.probes and own not in checkup.probes[peer].report.tunnels
        ]
        if without:
            yield Finding(
                place=name,
                trouble="peers do not have its key",
                found=f"{own} is no peer at {few(without)}",
                fix="`pulumi up` brings both ends the same config; see whether it is applied",
            )


def guests(checkup: Checkup) -> Iterator[Finding]:
    """A confidential VM that is not let in, does not answer, or does not do as ordered."""
    for node in checkup.status.nodes:
        if node.name in checkup.outputs["guests"] and node.own_trouble:
            fix = "`vpn dstack list` says what it has to run, its log where it is deployed the rest; then `pulumi up`"
            yield Finding(place=node.name, trouble="the confidential VM is not well", found=node.own_trouble, fix=fix)


def hanging(checkup: Checkup, told: set[str]) -> Iterator[Finding]:
    """What is not well with a node that runs, and no check knows why, as when its agent hangs."""
    for node in checkup.status.nodes:
        host, container = checkup.facts.hosts.get(node.host), checkup.outputs["nodes"][node.name]["container"]
        runs = host and host.report and not container_trouble(host.containers.get(container))
        if runs and node.own_trouble and node.name not in told:
            fix = f"`docker logs {container}` says more; `docker restart {container}` if it hangs"
            yield Finding(place=node.name, trouble="it is not well", found=node.own_trouble, fix=fix)
