"""Who may talk to whom."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.strategies import anything, entries, labels
from tests.model.test_config import BASE, check, mistakes
from vpn.model import firewall, names, wgconf
from vpn.model.config import parse
from vpn.model.grants import Grant, allowed, grants
from vpn.model.keys import KeyRing
from vpn.model.policy import MEMBERS, Ports
from vpn.model.topology import Topology

NODES = ["node-a", "node-b", "node-c", "node-d"]
WORKLOADS = {"web": "node-a", "db": "node-b", "app": "node-b"}
MESH = BASE | {
    "nodes": [{"name": name} for name in NODES],
    "workloads": [{"name": name, "node": node, "image": "x"} for name, node in WORKLOADS.items()],
    "access": {"enabled": True},
}
SERVICES: list[dict[str, Any]] = [
    {"name": "page", "at": "web", "ports": [80, "tcp/443"]},
    {"name": "sql", "at": "db", "ports": 5432},
]
KEYS = KeyRing(seed="0" * 43, mesh="wireguard")
Config = dict[str, Any]


def mesh(**more: Any) -> Topology:
    return parse(MESH | {"services": SERVICES} | more)


def port(number: int, protocol: str = "tcp") -> Ports:
    return Ports(protocol=protocol, first=number, last=number)


def may(topology: Topology, source: str, at: str, number: int, protocol: str = "tcp") -> bool:
    return allowed(topology, grants(topology), source, at, port(number, protocol))


# --- without rules


def test_without_rules_nodes_and_workloads_reach_each_other_and_members_services_only() -> None:
    without = mesh()
    assert all(may(without, one, other, 1) for one in (*NODES, *WORKLOADS) for other in (*NODES, *WORKLOADS))
    assert [may(without, MEMBERS, at, number) for at, number in (("web", 80), ("web", 81), ("db", 5432))] == [
        True,
        False,
        True,
    ]
    assert not any(may(without, MEMBERS, node, 80) for node in NODES)


def test_members_have_a_tunnel_only_to_nodes_with_something_for_them_and_its_names() -> None:
    without = mesh()
    assert [node.name for node in without.nodes if without.admits_members(node)] == ["node-a", "node-b"]
    assert [may(without, MEMBERS, node, 53, "udp") for node in NODES] == [True, True, False, False]


# --- rules: the compiled policy is the reference


def reference(config: Config, source: str, at: str, number: int, protocol: str) -> bool:
    """Whether any rule has the source's node in `from`, and the target's node, or a service there, in `to`."""
    groups = {"all": NODES, "nodes": NODES, "half": NODES[:2]}

    def of(names: list[str]) -> set[str]:
        return {one for name in names for one in groups.get(name, [name])}

    places = {one["name"]: (one["at"], one["ports"]) for one in SERVICES}
    for rule in config["rules"]:
        if WORKLOADS.get(source, source) in of(rule["from"]):
            if WORKLOADS.get(at, at) in of(rule["to"]) and fits(rule.get("ports"), number, protocol):
                return True
            if any(places[to][0] == at and fits(places[to][1], number, protocol) for to in rule["to"] if to in places):
                return True
    return False


def fits(ports: Any, number: int, protocol: str) -> bool:
    ranges = {80: ("tcp", 80, 80), 5432: ("tcp", 5432, 5432), "tcp/443": ("tcp", 443, 443)}
    ranges |= {"tcp/80-90": ("tcp", 80, 90), "udp/53": ("udp", 53, 53), "tcp/85-443": ("tcp", 85, 443)}
    listed = ports if isinstance(ports, list) else [ports]
    return ports is None or any(kind == protocol and a <= number <= b for kind, a, b in (ranges[one] for one in listed))


to_nodes = st.fixed_dictionaries(
    {
        "from": st.lists(st.sampled_from([*NODES, "nodes", "half", MEMBERS]), min_size=1, max_size=3),
        "to": st.lists(st.sampled_from([*NODES, "half"]), min_size=1, max_size=3),
    },
    optional={"ports": st.lists(st.sampled_from([80, "tcp/80-90", "udp/53", "tcp/85-443"]), min_size=1, max_size=3)},
)
to_services = st.fixed_dictionaries(
    {
        "from": st.lists(st.sampled_from([*NODES, MEMBERS]), min_size=1, max_size=3),
        "to": st.lists(st.sampled_from(["page", "sql"]), min_size=1, max_size=2),
    }
)
rule_lists = st.lists(to_nodes | to_services, min_size=1, max_size=12)
GROUPS = {"half": NODES[:2]}
PROBES = [(80, "tcp"), (84, "tcp"), (91, "tcp"), (443, "tcp"), (5432, "tcp"), (53, "udp"), (80, "udp")]


@given(rule_lists)
def test_the_compiled_policy_is_the_reference(rules: list[Config]) -> None:
    config = {"rules": rules, "groups": GROUPS}
    ruled = mesh(**config)
    granted = grants(ruled)
    for source in (*NODES, *WORKLOADS, MEMBERS):
        for at in (*NODES, *WORKLOADS):
            for number, protocol in PROBES:
                if WORKLOADS.get(source, source) == WORKLOADS.get(at, at) or (source == MEMBERS and number == 53):
                    continue
                found = allowed(ruled, granted, source, at, port(number, protocol))
                assert found == reference(config, source, at, number, protocol), (source, at, number, protocol)


@given(rule_lists, st.randoms(use_true_random=False))
def test_no_order_of_rules_changes_the_meaning(rules: list[Config], random: Any) -> None:
    shuffled = random.sample(rules, len(rules))
    assert grants(mesh(rules=rules, groups=GROUPS)) == grants(mesh(rules=shuffled, groups=GROUPS))


@given(rule_lists)
def test_no_two_grants_share_anything(rules: list[Config]) -> None:
    granted = grants(mesh(rules=rules, groups=GROUPS))
    for at, one in enumerate(granted):
        assert not [other for other in granted[at + 1 :] if overlap(one, other)]


def overlap(one: Grant, other: Grant) -> bool:
    if (one.source, one.target) != (other.source, other.target):
        return one.source.overlaps(other.source) and one.target.overlaps(other.target)
    if not one.ports or not other.ports:
        return True
    same = one.ports.protocol == other.ports.protocol
    return same and one.ports.first <= other.ports.last and other.ports.first <= one.ports.last


@given(rule_lists)
def test_a_tunnel_is_withheld_from_both_ends_or_from_none(rules: list[Config]) -> None:
    ruled = mesh(rules=rules, groups=GROUPS)
    for one in ruled.nodes:
        for other in ruled.nodes:
            assert (other in ruled.peers_of(one)) == (one in ruled.peers_of(other))
            public = KEYS.private_key(other.name, 1).public().base64()
            assert (public in wgconf.render(ruled, KEYS, one)) == (other in ruled.peers_of(one))


@given(rule_lists)
def test_both_ends_of_a_grant_have_it_in_their_filter_and_no_other_node_does(rules: list[Config]) -> None:
    ruled = mesh(rules=rules, groups=GROUPS)
    filters = {node.name: firewall.render(ruled, node) for node in ruled.nodes}
    for grant in grants(ruled):
        pair = f"{str(grant.source).removesuffix('/32')} . {str(grant.target).removesuffix('/32')}"
        element = f"{pair} . {grant.ports.protocol} . {grant.ports.range}" if grant.ports else pair
        for node in ruled.nodes:
            mine = (IPv4Network(node.address), node.site)
            concerned = any(one.overlaps(own) for one in (grant.source, grant.target) for own in mine)
            assert (f"            {element}" in filters[node.name]) == concerned


def test_another_policy_has_another_mark() -> None:
    node = mesh().node("node-a")
    rule: Config = {"from": "node-a", "to": "node-b", "ports": 80}
    several: list[list[Config]] = [[], [rule], [rule | {"ports": 81}], [rule | {"to": "node-c"}]]
    texts = [firewall.render(mesh(rules=rules), node) for rules in several]
    marks = [text.split("ct mark set ")[1].split()[0] for text in texts]
    assert len(set(marks)) == 4
    assert all(0 < int(mark, 16) < 2**32 for mark in marks)


# --- names of services


def test_a_service_has_a_name_and_the_reverse_stays_the_workloads() -> None:
    lines = names.render(mesh()).splitlines()
    web = parse(MESH).address("web")
    assert [line for line in lines if line.startswith(f"{web} ")] == [
        f"{web} web.vpn.dstack web",
        f"{web} page.vpn.dstack page",
    ]
    assert isinstance(web, IPv4Address)


# --- expectations


def expected(*tests: Config, rules: list[Config] | None = None) -> list[tuple[str, object]]:
    config = MESH | {"services": SERVICES, "tests": list(tests), "rules": rules or []}
    check(config)
    return mistakes(config)


RULES: list[Config] = [
    {"from": "node-a", "to": "sql"},
    {"from": "half", "to": "node-c", "ports": ["tcp/80-90", "udp/53"]},
]
MET: list[Config] = [
    {"from": "node-a", "to": "sql", "expect": "allow"},
    {"from": "web", "to": "db", "port": 5432, "expect": "allow"},
    {"from": "node-c", "to": "sql", "expect": "deny"},
    {"from": "node-a", "to": "app", "port": 5432, "expect": "deny"},
    {"from": "node-b", "to": "node-c", "port": "udp/53", "expect": "allow"},
    {"from": "members", "to": "sql", "expect": "deny"},
]


def test_expectations_that_are_met() -> None:
    assert len(mesh(rules=RULES, groups=GROUPS, tests=MET).expectations) == len(MET)


@pytest.mark.parametrize("number", range(len(MET)))
def test_an_expectation_that_is_not_met_is_a_mistake_that_names_the_port(number: int) -> None:
    test = MET[number] | {"expect": {"allow": "deny", "deny": "allow"}[MET[number]["expect"]]}
    config = MESH | {"services": SERVICES, "groups": GROUPS, "rules": RULES, "tests": [*MET, test]}
    ((path, value),) = mistakes(config)
    assert path == f"tests[{len(MET)}]"
    assert str(value).startswith(f"{test['from']} to {test['to']}, ")


# --- mistakes

WRONG: list[tuple[Config, list[tuple[str, object]]]] = [
    ({"services": "x"}, [("services", "x")]),
    ({"services": [SERVICES[0] | {"at": "nobody"}]}, [("services[0].at", "nobody")]),
    ({"services": [SERVICES[0] | {"name": "web"}]}, [("services[0].name", "web")]),
    ({"services": [SERVICES[0] | {"name": "Web"}]}, [("services[0].name", "Web")]),
    ({"services": [SERVICES[0] | {"name": "members"}]}, [("services[0].name", "members")]),
    ({"services": [SERVICES[0], SERVICES[0]]}, [("services[1].name", "page")]),
    ({"services": [{"name": "page", "at": "web"}]}, [("services[0].ports", None)]),
    ({"services": [SERVICES[0] | {"ports": []}]}, [("services[0].ports", []), ("services[0].ports", [])]),
    ({"groups": []}, [("groups", [])]),
    ({"groups": {"g": ["node-a", "web"]}}, [("groups.g", "web")]),
    ({"groups": {"web": ["node-a"]}}, [("groups.web", "web")]),
    ({"groups": {"nodes": ["node-a"]}}, [("groups.nodes", "nodes")]),
    ({"rules": [{"from": "members", "to": "node-a"}], "access": {}}, [("rules[0].from", "members")]),
    (
        {
            "rules": [{"from": "node-a", "to": "node-b"}],
            "links": [{"between": ["node-a", "node-c"], "transport": "tcp"}],
        },
        [("links[0].between", ["node-a", "node-c"])],
    ),
    (
        {
            "services": [SERVICES[0] | {"at": "nobody"}],
            "tests": [{"from": "node-a", "to": "page", "expect": "allow"}],
        },
        [("services[0].at", "nobody")],
    ),
    ({"groups": {"g": 5}}, [("groups.g", 5)]),
    ({"rules": [{"to": "node-a"}]}, [("rules[0].from", None)]),
    ({"rules": [{"from": "node-a", "to": ["node-b", "nobody"]}]}, [("rules[0].to", "nobody")]),
    ({"rules": [{"from": "sql", "to": "node-b"}]}, [("rules[0].from", "sql")]),
    ({"rules": [{"from": "node-a", "to": "members"}]}, [("rules[0].to", "members")]),
    ({"rules": [{"from": "node-a", "to": "sql", "ports": 80}]}, [("rules[0].ports", 80)]),
    ({"rules": [{"from": "node-a", "to": "node-b", "port": 80}]}, [("rules[0].port", 80)]),
    ({"rules": [{"from": "node-a", "to": "node-b", "ports": "x"}]}, [("rules[0].ports", "x")]),
    (
        {"tests": [{"from": "x", "to": "y", "expect": "z"}]},
        [(f"tests[0].{key}", value) for key, value in (("from", "x"), ("to", "y"), ("expect", "z"), ("port", None))],
    ),
    ({"tests": [{"from": "node-a", "to": "node-b", "expect": "deny"}]}, [("tests[0].port", None)]),
    ({"tests": [{"from": "node-a", "to": "node-b", "port": "80-90", "expect": "deny"}]}, [("tests[0].port", "80-90")]),
    ({"nodes": [{"name": "members"}], "workloads": [], "services": []}, [("nodes", "members")]),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=repr)
def test_a_mistake(change: Config, expected: list[tuple[str, object]]) -> None:
    assert mistakes(MESH | {"services": SERVICES} | change) == expected


@pytest.mark.parametrize("ports", [0, 65536, "icmp", "tcp/9-8", True, "80,81", ["x"]])
def test_what_is_no_port(ports: object) -> None:
    value = ports[0] if isinstance(ports, list) else ports
    found = mistakes(MESH | {"services": [SERVICES[0] | {"ports": ports}]})
    assert found == [("services[0].ports", value), ("services[0].ports", ports)]


def test_what_is_expected_to_be_denied_is_so_to_the_last_port() -> None:
    services = [{"name": "many", "at": "web", "ports": "8000-8100"}]
    rules = [{"from": "node-b", "to": "node-a", "ports": 8050}]
    test = {"from": "node-b", "to": "many", "expect": "deny"}
    assert mistakes(MESH | {"services": services, "rules": rules, "tests": [test]}) == [
        ("tests[0]", "node-b to many, tcp/8000-8100")
    ]
    other = MESH | {"services": services, "rules": [{**rules[0], "ports": 8101}], "tests": [test]}
    assert parse(other).expectations


@given(rule_lists)
def test_what_concerns_a_node_is_what_the_whole_says_of_it(rules: list[Config]) -> None:
    ruled = mesh(rules=rules, groups=GROUPS)
    for node in ruled.nodes:
        mine = {IPv4Network(node.address), *(IPv4Network(one.address) for one in ruled.workloads_of(node))}
        assert [one for one in grants(ruled) if mine & {one.source, one.target}] == list(grants(ruled, node))


def test_a_test_at_one_node_is_a_mistake() -> None:
    test = {"from": "node-b", "to": "db", "port": 80, "expect": "allow"}
    assert mistakes(MESH | {"tests": [test]}) == [("tests[0]", test)]


some = st.sampled_from([*NODES, *WORKLOADS, "page", MEMBERS]) | labels


@given(
    st.fixed_dictionaries(
        {
            "services": entries(name=labels, at=some, ports=anything),
            "groups": st.dictionaries(labels, st.lists(some, max_size=2) | anything, max_size=2) | anything,
            "rules": entries(**{"from": some, "to": some, "ports": anything}),
            "tests": entries(
                **{"from": some, "to": some, "port": anything, "expect": st.sampled_from(["allow", "deny"])}
            ),
        }
    )
)
def test_nothing_breaks_the_parser(config: Config) -> None:
    check(MESH | config)
