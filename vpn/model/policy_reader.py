"""From `services`, `groups`, `rules` and `tests` of a configuration to a policy and what is expected of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpn.model.policy import MEMBERS, Expectation, Policy, Ports, Rule, Service, open_policy
from vpn.model.reader import LABEL, LABEL_FIX, Reader

SERVICE_KEYS = ("name", "at", "ports")
RULE_KEYS = ("from", "to", "ports")
TEST_KEYS = ("from", "to", "port", "expect")
NODES = "nodes"  # the group of all
ALLOW, DENY = "allow", "deny"
PORTS = re.compile(r"(?:(tcp|udp)/)?([0-9]{1,5})(?:-([0-9]{1,5}))?")
PORTS_FIX = "write it like 80, tcp/8000-8080 or udp/53"
MAX_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class PolicyReader:
    """Reads who may talk to whom, and notes what is wrong."""

    reader: Reader
    nodes: Sequence[str]
    workloads: Mapping[str, str]
    """The node of every workload."""
    own: Mapping[str, str]
    """Names of the mesh's own, and what has them."""
    has_members: bool

    def read(self) -> tuple[Policy, tuple[Expectation, ...]]:
        """The policy, and the expectations that the configuration states of it."""
        services = self._services()
        own = self._groups()
        self._check_names(own, services)
        groups = {**own, NODES: frozenset(self.nodes)}
        rules = self._rules(groups, services)
        policy = Policy(rules=rules, services=services, is_open=False) if rules else open_policy(self.nodes, services)
        return policy, self._expectations(policy)

    # --- services and groups

    def _services(self) -> tuple[Service, ...]:
        entries = self.reader.entries("services", SERVICE_KEYS)
        return tuple(self._service(f"services[{index}]", entry) for index, entry in enumerate(entries))

    def _service(self, path: str, entry: Mapping[str, Any]) -> Service:
        at = entry.get("at")
        places = {**{node: node for node in self.nodes}, **self.workloads}
        if not isinstance(at, str) or at not in places:
            self.reader.wrong(f"{path}.at", at, "is neither a node nor a workload", f"one of {', '.join(places)}")
        ports = self._ports(f"{path}.ports", entry.get("ports"))
        if not ports:
            self.reader.wrong(f"{path}.ports", entry.get("ports"), "names no port", PORTS_FIX)
        name = self.reader.text(f"{path}.name", entry.get("name"), LABEL, LABEL_FIX)
        return Service(name=name, at=str(at), node=places.get(str(at), ""), ports=ports)

    def _groups(self) -> dict[str, frozenset[str]]:
        raw = {} if self.reader.raw["groups"] is None else self.reader.raw["groups"]
        if not isinstance(raw, Mapping):
            self.reader.wrong("groups", raw, "is not a mapping", "write it like web: [node-a, node-b]")
            return {}
        return {str(name): self._group(f"groups.{name}", names) for name, names in raw.items()}

    def _group(self, path: str, names: object) -> frozenset[str]:
        members = self._names(path, names)
        for name in members:
            if name not in self.nodes:
                self.reader.wrong(path, name, "is not a node", f"one of {', '.join(self.nodes)}")
        return frozenset(members)

    def _check_names(self, groups: Iterable[str], services: Sequence[Service]) -> None:
        """A name in a rule means one thing."""
        taken = {MEMBERS: "the members", NODES: "all nodes", **self.own}
        taken |= dict.fromkeys(self.workloads, "a workload")
        taken |= dict.fromkeys(self.nodes, "a node") | dict.fromkeys(groups, "a group")
        for kind, names in (("nodes", self.nodes), ("workloads", self.workloads)):
            for name in sorted({MEMBERS, NODES} & set(names)):
                self.reader.wrong(kind, name, "has a meaning of its own in rules", "choose another name")
        for name in sorted(set(groups) & {MEMBERS, NODES, *self.own, *self.nodes, *self.workloads}):
            self.reader.wrong(f"groups.{name}", name, "is also the name of something else", "choose another name")
        for index, service in enumerate(services):
            if service.name in taken:
                fix = "choose another name"
                self.reader.wrong(f"services[{index}].name", service.name, f"is also {taken[service.name]}", fix)
            taken[service.name] = "a service"

    # --- rules

    def _rules(self, groups: Mapping[str, frozenset[str]], services: Sequence[Service]) -> tuple[Rule, ...]:
        entries = self.reader.entries("rules", RULE_KEYS)
        return tuple(self._rule(f"rules[{at}]", entry, groups, services) for at, entry in enumerate(entries))

    def _rule(
        self, path: str, entry: Mapping[str, Any], groups: Mapping[str, frozenset[str]], services: Sequence[Service]
    ) -> Rule:
        nodes = {**{name: frozenset({name}) for name in self.nodes}, **groups}
        named = {service.name for service in services}
        sources = self._known(f"{path}.from", entry.get("from"), (*nodes, MEMBERS))
        if MEMBERS in sources and not self.has_members:
            fix = "set access.enabled, or leave them out"
            self.reader.wrong(f"{path}.from", MEMBERS, "are nobody: access is not enabled", fix)
        targets = self._known(f"{path}.to", entry.get("to"), (*nodes, *named))
        ports = self._ports(f"{path}.ports", entry.get("ports"))
        if ports and set(targets) & named:
            fix = "leave ports out: a service has its own"
            self.reader.wrong(f"{path}.ports", entry["ports"], "is set for a service", fix)
        return Rule(
            sources=frozenset().union(*(nodes.get(name, {name}) for name in sources)),
            targets=frozenset().union(*(nodes.get(name, frozenset()) for name in targets)),
            services=frozenset(targets) & named,
            ports=ports,
        )

    def _known(self, path: str, value: object, known: Sequence[str]) -> list[str]:
        names = self._names(path, value)
        for name in names:
            if name not in known:
                self.reader.wrong(path, name, "is not known", f"one of {', '.join(sorted(known))}")
        return [name for name in names if name in known]

    def _names(self, path: str, value: object) -> list[str]:
        """A name or a list of them."""
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            self.reader.wrong(path, value, "is not a name or a list of names", "write it like [node-a, node-b]")
            return []
        return names

    def _ports(self, path: str, value: object) -> tuple[Ports, ...]:
        """A port or a list of them; nothing where there is none."""
        if value is None:
            return ()
        items = value if isinstance(value, list) and value else [value]
        ports = [self._port(path, item) for item in items]
        return tuple(sorted(found for found in ports if found))

    def _port(self, path: str, value: object) -> Ports | None:
        is_plain = isinstance(value, str | int) and not isinstance(value, bool)
        match = PORTS.fullmatch(str(value)) if is_plain else None
        if match:
            first, last = int(match[2]), int(match[3] or match[2])
            if 0 < first <= last <= MAX_PORT:
                return Ports(protocol=match[1] or "tcp", first=first, last=last)
        self.reader.wrong(path, value, "is not a port or a range of them", PORTS_FIX)
        return None

    # --- expectations

    def _expectations(self, policy: Policy) -> tuple[Expectation, ...]:
        entries = self.reader.entries("tests", TEST_KEYS)
        found = [self._expectation(f"tests[{index}]", entry, policy) for index, entry in enumerate(entries)]
        return tuple(one for one in found if one)

    def _expectation(self, path: str, entry: Mapping[str, Any], policy: Policy) -> Expectation | None:
        places = {**{node: node for node in self.nodes}, **self.workloads}
        services = {service.name: service for service in policy.services}
        before = len(self.reader.problems)
        source, target, expected = (entry.get(key) for key in ("from", "to", "expect"))
        self._one_of(f"{path}.from", source, (*places, MEMBERS))
        self._one_of(f"{path}.to", target, (*places, *services))
        self._one_of(f"{path}.expect", expected, (ALLOW, DENY))
        ports = self._expected_ports(path, entry, services.get(str(target)))
        if len(self.reader.problems) > before:
            return None
        service = services.get(str(target))
        at = service.at if service else str(target)
        if at in places and places.get(str(source)) == places[at]:
            fix = "name two of different nodes"
            self.reader.wrong(path, dict(entry), "stays at one node, where no rule is asked", fix)
        return Expectation(
            path=path, source=str(source), target=str(target), at=at, ports=ports, allow=expected == ALLOW
        )

    def _expected_ports(self, path: str, entry: Mapping[str, Any], service: Service | None) -> tuple[Ports, ...]:
        if service and entry.get("port") is None:
            return service.ports
        ports = self._ports(f"{path}.port", entry.get("port"))
        if entry.get("port") is None or len(ports) != 1 or ports[0].first != ports[0].last:
            self.reader.wrong(f"{path}.port", entry.get("port"), "is not one port", "write it like 80 or udp/53")
        return ports

    def _one_of(self, path: str, value: object, known: Sequence[str]) -> None:
        if not isinstance(value, str) or value not in known:
            self.reader.wrong(path, value, "is not known", f"one of {', '.join(sorted(known))}")
