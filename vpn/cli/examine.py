"""Collects what `vpn doctor` judges: beside what `vpn status` sees, a look from inside every node."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import docker
from bootstrap import command
from bootstrap.environment import existing
from vpn.cli import look
from vpn.engines import Engine, connected
from vpn.model import report
from vpn.model.checkup import Checkup, Probe, Stopped
from vpn.model.facts import Outputs, Seen
from vpn.model.hosts import Host
from vpn.model.status import container_trouble
from vpn.model.untrusted import shown

SECONDS = 60  # for an answer of an engine: a walk along a bad path takes some
AT_ONCE = 8  # looks into nodes of one host
MOST_SHOWN = 300  # characters
TROUBLES = (docker.errors.DockerException, OSError)  # of an engine
TOOLS = {"pulumi": ("pulumi", "version"), "docker": ("docker", "--version")}
# The largest packet that gets to each address, a few at a time. A lost one may be chance, so several are sent before
# anybody walks, and one more in the end.
PROBE = """
passes() { ping -q -c 1 -W 1 -M do -s $(($2 - 28)) "$1" >/dev/null 2>&1; }
walk() {
    local most low=576 high middle
    most=$(ip -o route get "$1" 2>/dev/null | sed -n 's/.* mtu \\([0-9]*\\).*/\\1/p')
    high=${most:=$(cat /sys/class/net/wg0/mtu 2>/dev/null || echo 0)}
    if passes "$1" "$most" || passes "$1" "$most"; then low=$most high=$most
    elif ! passes "$1" "$low" && ! passes "$1" "$low"; then low=0 high=0; fi
    while ((high - low > 1)); do
        middle=$(((low + high) / 2))
        if passes "$1" "$middle"; then low=$middle; else high=$middle; fi
    done
    ((low == most)) || ! passes "$1" "$most" || low=$most
    echo "$1 $low $most"
}
echo "# now"; cat /proc/uptime
echo "# tun"; [ ! -c /dev/net/tun ] || echo yes
echo "# forwards"; cat /proc/sys/net/ipv4/ip_forward
report
echo "# paths"
for address; do
    walk "$address" &
    (($(jobs -pr | wc -l) < 6)) || wait -n
done
wait"""


def checkup(outputs: Outputs) -> Checkup:
    """All that is to be collected. Raises CliError when these are no outputs of a mesh."""
    facts = look.facts(outputs)
    hosts = {name: host for name, host in look.hosts(outputs).items() if not facts.hosts[name].complaint}
    with ThreadPoolExecutor(look.AT_ONCE) as pool:
        seen = {name: facts.hosts[name].containers for name in hosts}
        found = list(pool.map(lambda host: _Examination(outputs, host, seen[host.name]).result(), hosts.values()))
    return Checkup(
        outputs=outputs,
        facts=facts,
        probes={name: probe for one in found for name, probe in one.probes.items()},
        unseen={name: why for one in found for name, why in one.unseen.items()},
        stopped={place: why for one in found for place, why in one.stopped.items()},
        versions=tools()
        | {f"engine {name}": one.version for name, one in zip(hosts, found, strict=True) if one.version},
    )


def tools() -> dict[str, str]:
    """What is here, and its version; empty if there is none."""
    env = existing()
    answers = {name: command.ask(call, env=env) for name, call in TOOLS.items()}
    return {name: answer.answer.strip() if answer.ok else "" for name, answer in answers.items()}


@dataclass(frozen=True, kw_only=True)
class _Found:
    probes: Mapping[str, Probe]
    unseen: Mapping[str, str]
    stopped: Mapping[tuple[str, str], Stopped]
    version: str


@dataclass(frozen=True)
class _Examination:
    """Of one host."""

    outputs: Outputs
    host: Host
    seen: Mapping[str, Seen]

    def result(self) -> _Found:
        try:
            with connected(self.host, SECONDS) as engine:
                return self._result(engine)
        except TROUBLES as error:  # it answered a second ago; what it told then is there
            unseen = {one["name"]: shown(str(error)) for one in self._nodes}
            return _Found(probes={}, unseen=unseen, stopped={}, version="")

    @property
    def _entries(self) -> list[Mapping[str, Any]]:
        return [one for one in self.outputs["containers"] if one["host"] == self.host.name]

    @property
    def _nodes(self) -> list[Mapping[str, Any]]:
        """Those that run."""
        return [one for one in self._entries if one["kind"] == "node" and look.is_running(self.seen, one)]

    def _result(self, engine: Engine) -> _Found:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looks = list(pool.map(lambda one: (one["name"], self._look(engine, one)), self._nodes))
        return _Found(
            probes={name: look for name, look in looks if isinstance(look, Probe)},
            unseen={name: look for name, look in looks if isinstance(look, str)},
            stopped=dict(self._stopped(engine, self._entries)),
            version=_version(engine),
        )

    def _look(self, engine: Engine, entry: Mapping[str, Any]) -> Probe | str:
        """What a node showed, or why it did not."""
        text = ""
        try:
            text = self._ask(engine, entry)
            return parsed(text)
        except TROUBLES as error:
            return shown(str(error))
        except (LookupError, ValueError):
            return shown(text[-MOST_SHOWN:].strip()) or "it says nothing"

    def _ask(self, engine: Engine, entry: Mapping[str, Any]) -> str:
        nodes = self.outputs["nodes"]
        # A ping is answered with as much, so one look is for both ways; who is in a confidential VM looks at nobody.
        guests, name = self.outputs["guests"], entry["name"]
        addresses = [nodes[peer]["address"] for peer in nodes[name]["peers"] if name < peer or peer in guests]
        return look.run(engine, entry["container"], "bash", "-c", PROBE, "bash", *addresses, seconds=SECONDS)[1]

    def _stopped(
        self, engine: Engine, entries: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[tuple[str, str], Stopped]]:
        for entry in entries:
            seen = self.seen.get(entry["container"])
            if seen and container_trouble(seen):
                state = _state(engine, entry["container"])
                yield (self.host.name, entry["container"]), stopped(state)


def parsed(text: str) -> Probe:
    """What a node showed. Raises LookupError or ValueError when it is something else."""
    parts = report.sections(text.splitlines())
    rows = [line.split() for line in parts["paths"]]
    return Probe(
        report=report.node(parts, float(parts["now"][0].split()[0])),
        has_tun=bool(parts["tun"]),
        forwards=parts["forwards"] != ["0"],
        paths={address: (int(largest), int(wanted)) for address, largest, wanted in rows},
    )


def _version(engine: Engine) -> str:
    try:
        return str(engine.version()["Version"])
    except TROUBLES:
        return ""


def _state(engine: Engine, container: str) -> Mapping[str, Any]:
    """Nothing when the engine does not tell of this one: of the others it may."""
    try:
        return dict(engine.inspect_container(container)["State"])
    except TROUBLES:
        return {}


def stopped(state: Mapping[str, Any]) -> Stopped:
    """Why a container does not run well, by `State` of Docker's inspect."""
    log = ((state.get("Health") or {}).get("Log") or [{}])[-1]
    return Stopped(
        error=state.get("Error", ""),
        out_of_memory=state.get("OOMKilled", False),
        said=shown(log.get("Output", "").strip()[:MOST_SHOWN]) if log.get("ExitCode") else "",
    )
