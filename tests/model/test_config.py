"""A configuration is right as a whole, or every mistake in it is reported at once."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.example import MESH
from tests.model.stack_files import DEFAULTS as SCHEMA_DEFAULTS
from tests.model.stack_files import DEV, SCHEMA
from tests.model.strategies import addresses, anything, configs, garbage, labels
from vpn.model.config import DEFAULTS, KEYS, parse
from vpn.model.problems import ConfigError, Problem
from vpn.model.topology import Node, Topology, Workload

A, B = {"name": "node-a"}, {"name": "node-b"}
WEB = {"name": "web", "node": "node-a", "image": "nginx"}
BASE = DEV | {"workloads": [], "services": [], "access": {}}

Config = dict[str, Any]
Previous = Mapping[str, str]


def mistakes(config: Config, previous: Previous | None = None) -> list[tuple[str, object]]:
    """Where the mistakes are, and what stands there."""
    with pytest.raises(ConfigError) as caught:
        parse(config, previous)
    return [(problem.path, problem.value) for problem in caught.value.problems]


# --- what is right


def test_the_dev_stack_is_the_mesh_of_the_seed() -> None:
    assert parse(DEV) == MESH


def test_the_schema_of_the_project_lists_just_the_keys_that_are_read() -> None:
    assert tuple(SCHEMA) == KEYS


def test_every_key_has_a_description_and_a_default_but_the_nodes() -> None:
    assert [key for key, entry in SCHEMA.items() if not entry["description"]] == []
    assert [key for key in SCHEMA if key not in DEFAULTS] == ["nodes"]


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": [A], "workloads": None},
        {"vpnRange": "10.9.8.4/30"},
        {"underlayRange": "10.1.0.0/29"},
        {"siteRange": "10.64.0.0/22"},
        {"nodes": [A, B | {"address": None}]},
        {"nodes": [A, B | {"address": "10.0.0.254"}]},
        {"listenPort": 1, "hostPort": 65534, "mtu": 576, "keepalive": 0},
        {"listenPort": 65535, "hostPort": 0, "mtu": 1440, "keepalive": 65535},
        {"name": "a", "domain": "a"},
        {"name": "a" * 31, "domain": "a-b.c-d.0"},
        {"workloads": [WEB | {"command": []}]},
        {"workloads": [WEB | {"command": ["sleep", "infinity"]}]},
        {"workloads": [{"name": "web", "node": "node-a", "build": "docker/nginx"}]},
    ],
)
def test_right(change: Config) -> None:
    assert isinstance(parse(DEV | {"services": []} | change), Topology)


def test_no_host_port_publishes_nothing() -> None:
    assert [node.host_port for node in parse(DEV | {"hostPort": 0}).nodes] == [None, None]


# --- one mistake

OVERLAP = "10.0.0.0/8"

ONE_MISTAKE: list[tuple[Config, list[tuple[str, object]]]] = [
    # Ranges
    ({"underlayRange": OVERLAP}, [("underlayRange", OVERLAP), ("siteRange", "10.64.0.0/16")]),
    ({"vpnRange": "172.20.1.0/24"}, [("underlayRange", "172.20.0.0/16")]),
    ({"siteRange": "10.0.0.0/16"}, [("siteRange", "10.0.0.0/16")]),
    ({"vpnRange": "10.0.0.1/24"}, [("vpnRange", "10.0.0.1/24")]),
    ({"vpnRange": "fd00::/64"}, [("vpnRange", "fd00::/64")]),
    ({"vpnRange": "10.0.0.0/33"}, [("vpnRange", "10.0.0.0/33")]),
    ({"vpnRange": 10}, [("vpnRange", 10)]),
    ({"underlayRange": None}, [("underlayRange", None)]),
    ({"siteRange": ["10.64.0.0/16"]}, [("siteRange", ["10.64.0.0/16"])]),
    ({"siteRange": "10.64.0.0/24"}, [("siteRange", "10.64.0.0/24")]),
    ({"siteRange": "10.64.0.0/28"}, [("siteRange", "10.64.0.0/28")]),
    ({"siteRange": "10.64.0.0/23"}, [("nodes", 2)]),
    ({"vpnRange": "10.0.0.0/30", "nodes": [A, B, {"name": "c"}]}, [("nodes", 3)]),
    ({"vpnRange": "10.0.0.0/31"}, [("nodes", 2)]),
    ({"underlayRange": "172.20.0.0/30"}, [("nodes", 2)]),
    # Numbers
    ({"listenPort": 0}, [("listenPort", 0)]),
    ({"listenPort": 65536}, [("listenPort", 65536)]),
    ({"listenPort": "51820"}, [("listenPort", "51820")]),
    ({"listenPort": True}, [("listenPort", True)]),
    ({"listenPort": 51820.0}, [("listenPort", 51820.0)]),
    ({"hostPort": -1}, [("hostPort", -1)]),
    ({"hostPort": 65536}, [("hostPort", 65536)]),
    ({"hostPort": 65535}, [("hostPort", 65535)]),
    ({"mtu": 575}, [("mtu", 575)]),
    ({"mtu": 1441}, [("mtu", 1441)]),
    ({"keepalive": -1}, [("keepalive", -1)]),
    ({"keepalive": None}, [("keepalive", None)]),
    ({"keyGeneration": 0}, [("keyGeneration", 0)]),
    # Names
    ({"name": ""}, [("name", "")]),
    ({"name": "-vpn"}, [("name", "-vpn")]),
    ({"name": "a" * 32}, [("name", "a" * 32)]),
    ({"name": "vpn\n"}, [("name", "vpn\n")]),
    ({"domain": "vpn..dstack"}, [("domain", "vpn..dstack")]),
    ({"domain": "Vpn"}, [("domain", "Vpn")]),
    ({"domain": {}}, [("domain", {})]),
    ({"nodes": [A, {"name": "Node"}]}, [("nodes[1].name", "Node")]),
    ({"nodes": [A, {"name": "b_c"}]}, [("nodes[1].name", "b_c")]),
    ({"nodes": [A, {"name": "b-"}]}, [("nodes[1].name", "b-")]),
    ({"nodes": [A, {"name": "b" * 64}]}, [("nodes[1].name", "b" * 64)]),
    ({"nodes": [A, {"name": 7}]}, [("nodes[1].name", 7)]),
    ({"nodes": [A, {}]}, [("nodes[1].name", None)]),
    ({"nodes": [A, B, A]}, [("nodes[2].name", "node-a")]),
    ({"nodes": [A], "workloads": [WEB | {"name": "node-a"}]}, [("workloads[0].name", "node-a")]),
    ({"workloads": [WEB, WEB]}, [("workloads[1].name", "web")]),
    # Addresses
    ({"nodes": [A, B | {"address": "10.0.1.1"}]}, [("nodes[1].address", "10.0.1.1")]),
    ({"nodes": [A, B | {"address": "10.0.0.0"}]}, [("nodes[1].address", "10.0.0.0")]),
    ({"nodes": [A, B | {"address": "10.0.0.255"}]}, [("nodes[1].address", "10.0.0.255")]),
    ({"nodes": [A, B | {"address": "10.0.0.2/24"}]}, [("nodes[1].address", "10.0.0.2/24")]),
    ({"nodes": [A, B | {"address": 2}]}, [("nodes[1].address", 2)]),
    ({"nodes": [one | {"address": "10.0.0.9"} for one in (A, B)]}, [("nodes[1].address", "10.0.0.9")]),
    ({"siteRange": "10.64.0.0/22", "nodes": [A, B | {"address": "10.0.0.4"}]}, [("nodes[1].address", "10.0.0.4")]),
    # Keys that nobody reads
    ({"node": [A]}, [("node", [A])]),
    ({"Name": "vpn"}, [("Name", "vpn")]),
    ({"nodes": [A, B | {"adress": "10.0.0.2"}]}, [("nodes[1].adress", "10.0.0.2")]),
    ({"workloads": [WEB | {"ports": [80]}]}, [("workloads[0].ports", [80])]),
    # Lists, and what follows from reading none
    ({"nodes": []}, [("nodes", [])]),
    ({"nodes": None}, [("nodes", None)]),
    ({"nodes": {}}, [("nodes", {})]),
    ({"nodes": "node-a"}, [("nodes", "node-a")]),
    ({"nodes": [A, B, "node-c"]}, [("nodes[2]", "node-c"), ("nodes[2].name", None)]),
    ({"workloads": "web"}, [("workloads", "web")]),
    ({"workloads": False}, [("workloads", False)]),
    ({"workloads": {}}, [("workloads", {})]),
    (
        {"workloads": [None]},
        [("workloads[0]", None), ("workloads[0].name", None), ("workloads[0].node", None), ("workloads[0]", {})],
    ),
    # Workloads
    ({"workloads": [WEB | {"node": "node-c"}]}, [("workloads[0].node", "node-c")]),
    ({"workloads": [WEB | {"node": ["node-a"]}]}, [("workloads[0].node", ["node-a"])]),
    ({"workloads": [{"name": "web", "image": "nginx"}]}, [("workloads[0].node", None)]),
    ({"workloads": [WEB | {"build": "web"}]}, [("workloads[0]", WEB | {"build": "web"})]),
    ({"workloads": [WEB | {"image": None}]}, [("workloads[0]", WEB | {"image": None})]),
    ({"workloads": [WEB | {"image": ""}]}, [("workloads[0]", WEB | {"image": ""})]),
    ({"workloads": [WEB | {"command": "sleep"}]}, [("workloads[0].command", "sleep")]),
    ({"workloads": [WEB | {"command": ["sleep", 5]}]}, [("workloads[0].command", ["sleep", 5])]),
    ({"workloads": [WEB | {"command": [""]}]}, [("workloads[0].command", [""])]),
]


@pytest.mark.parametrize(("change", "expected"), ONE_MISTAKE, ids=repr)
def test_a_mistake(change: Config, expected: list[tuple[str, object]]) -> None:
    assert mistakes(BASE | change) == expected


LISTS = ("hosts", "gateways", "relays", "links", "workloads", "services", "groups", "rules", "tests")


@pytest.mark.parametrize("key", [key for key in KEYS if key not in (*LISTS, "access", "postgres", "monitoring")])
def test_a_key_without_a_value(key: str) -> None:
    assert (key, None) in mistakes(DEV | {key: None})


def test_a_key_left_out_has_the_default_that_the_schema_shows() -> None:
    assert dict(DEFAULTS) == SCHEMA_DEFAULTS
    assert parse({"nodes": DEV["nodes"]}) == parse(SCHEMA_DEFAULTS | {"nodes": DEV["nodes"]})


def test_a_site_that_is_full() -> None:
    workloads = [WEB | {"name": f"web-{number}"} for number in range(253)]
    assert len(parse(DEV | {"services": [], "workloads": workloads[:252]}).workloads) == 252
    assert mistakes(DEV | {"services": [], "workloads": workloads}) == [("workloads", 253)]


@pytest.mark.parametrize("source", [{"image": 5, "build": "web"}, {"image": "nginx", "build": ["web"]}])
def test_a_source_that_is_no_text_is_refused_beside_one_that_is(source: Config) -> None:
    assert len(mistakes(DEV | {"services": [], "workloads": [{"name": "web", "node": "node-a"} | source]})) == 1


def test_a_folder_that_cannot_be_built() -> None:
    config = DEV | {"services": [], "workloads": [WEB, {"name": "own", "node": "node-a", "build": "docker/own"}]}
    with pytest.raises(ConfigError) as caught:
        parse(config, can_build=lambda folder: folder != "docker/own")
    assert [problem.path for problem in caught.value.problems] == ["workloads[1].build"]


# --- many mistakes

LATE: Config = {"mtu": 9000, "hostPort": 65535, "workloads": [{"name": "own", "node": "node-a", "build": "missing"}]}


def test_what_only_numbering_finds_is_in_the_same_report() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DEV | {"services": []} | LATE, can_build=lambda _: False)
    assert [problem.path for problem in caught.value.problems] == ["mtu", "workloads[0].build", "hostPort"]


MANY: Config = {
    "name": "My VPN",
    "vpnRange": "10.0.0.0/24",
    "underlayRange": "10.0.0.0/16",
    "siteRange": "10.64.0.0/24",
    "listenPort": 0,
    "subnet": "10.1.0.0/16",
    "nodes": [A, {"name": "node-a", "address": "10.1.0.1"}, "node-c"],
    "workloads": [{"name": "web", "node": "node-z", "image": "nginx", "build": "web", "port": 80}],
}

REPORT = f"""\
the configuration has 12 mistakes; nothing was touched
  subnet: '10.1.0.0/16' is not a known key
    fix: one of {", ".join(KEYS)}
  name: 'My VPN' is not a valid name
    fix: use 1 to 31 of a-z, 0-9 and '-'
  listenPort: 0 is not a whole number from 1 to 65535
    fix: choose one from 1 to 65535
  nodes[2]: 'node-c' is not a mapping
    fix: write it like '- name: ...'
  workloads[0].port: 80 is not a known key
    fix: one of name, node, image, build, command
  underlayRange: '10.0.0.0/16' overlaps vpnRange 10.0.0.0/24
    fix: choose ranges that share no address
  siteRange: '10.64.0.0/24' has no room for sites
    fix: a site is a /24: use a /16
  nodes[1].name: 'node-a' is also the name of nodes[0]
    fix: give each its own name
  nodes[2].name: None is not a valid name
    fix: use 1 to 63 of a-z, 0-9 and '-', not '-' at an end (RFC 1123, 2.1)
  workloads[0].node: 'node-z' is not a node
    fix: one of node-a, node-a, None
  workloads[0]: {MANY["workloads"][0]!r} has not just one source
    fix: give either image (a name) or build (a folder)
  nodes[1].address: '10.1.0.1' is not a host of vpnRange 10.0.0.0/24
    fix: leave it out, or choose one of that range"""


def test_many_mistakes_are_one_report() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DEV | {"services": []} | MANY)
    assert str(caught.value) == REPORT


def test_a_report_of_one_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DEV | {"mtu": 9000})
    assert str(caught.value) == (
        "the configuration has 1 mistake; nothing was touched\n"
        "  mtu: 9000 is not a whole number from 576 to 1440\n"
        "    fix: choose one from 576 to 1440"
    )


# --- who has an address keeps it


@pytest.mark.parametrize(
    ("nodes", "previous", "expected"),
    [
        ([A, B], {}, {"node-a": "10.0.0.1", "node-b": "10.0.0.2"}),
        ([B], {"node-a": "10.0.0.1", "node-b": "10.0.0.2"}, {"node-b": "10.0.0.2"}),
        ([B, A], {"node-a": "10.0.0.1", "node-b": "10.0.0.2"}, {"node-b": "10.0.0.2", "node-a": "10.0.0.1"}),
        ([A, B], {"node-b": "10.0.0.2"}, {"node-a": "10.0.0.1", "node-b": "10.0.0.2"}),
        ([A | {"address": "10.0.0.7"}], {"node-a": "10.0.0.1"}, {"node-a": "10.0.0.7"}),
        ([A], {"node-a": "192.168.0.9"}, {"node-a": "10.0.0.1"}),
        ([A], {"node-a": "nonsense"}, {"node-a": "10.0.0.1"}),
    ],
)
def test_previous_addresses(nodes: list[Config], previous: Previous, expected: Previous) -> None:
    mesh = parse(BASE | {"nodes": nodes}, previous)
    assert {node.name: str(node.address) for node in mesh.nodes} == expected


def test_a_newcomer_cannot_take_the_address_of_another() -> None:
    config = BASE | {"nodes": [A, B | {"address": "10.0.0.1"}]}
    assert mistakes(config, {"node-a": "10.0.0.1"}) == [("nodes[1].address", "10.0.0.1")]


def members(mesh: Topology) -> dict[str, Node | Workload]:
    everyone: list[Node | Workload] = [*mesh.nodes, *mesh.workloads]
    return {one.name: one for one in everyone}


@given(configs(), st.data())
def test_nobody_moves_when_others_come_and_go(config: dict[str, Any], data: st.DataObject) -> None:
    before = members(parse(config))
    kept = data.draw(st.lists(st.sampled_from(config["nodes"]), unique_by=lambda node: str(node["name"])))
    nodes = [*kept, {"name": "newcomer"}]
    workloads = [one for one in config["workloads"] if one["node"] in {node["name"] for node in kept}][1:]
    late = [WEB | {"name": "latecomer", "node": "newcomer"}]
    previous = {name: str(one.address) for name, one in before.items()}
    after = members(parse(config | {"nodes": nodes, "workloads": [*late, *workloads]}, previous))
    assert {name: one for name, one in after.items() if name in before} == {
        name: before[name] for name in after if name in before
    }


@given(configs())
def test_all_numbers_of_a_mesh_differ_and_lie_in_their_ranges(config: dict[str, Any]) -> None:
    mesh = parse(config)
    vpn, underlay = [node.address for node in mesh.nodes], [node.underlay for node in mesh.nodes]
    assert len({*vpn, *underlay, *(one.address for one in mesh.workloads)}) == 2 * len(vpn) + len(mesh.workloads)
    assert all(address in mesh.vpn_range for address in vpn)
    assert all(address in mesh.underlay_range and address != mesh.underlay_gateway for address in underlay)
    assert len({node.site for node in mesh.nodes}) == len(mesh.nodes)
    for node in mesh.nodes:
        reserved = {node.gateway, node.site_address, node.site.network_address, node.site.broadcast_address}
        own = {one.address for one in mesh.workloads_of(node)}
        assert node.site.subnet_of(mesh.site_range)
        assert not own & reserved
        assert all(address in node.site for address in own)


# --- anything at all


def check_types(mesh: Topology) -> None:
    """What the type checker believes of a mesh."""
    assert all(isinstance(value, str) for value in (mesh.name, mesh.domain))
    assert all(type(value) is int for value in (mesh.listen_port, mesh.mtu, mesh.keepalive, mesh.key_generation))
    for workload in mesh.workloads:
        sources = [source for source in (workload.image, workload.build) if source is not None]
        assert [type(one) for one in (workload.address, *sources, workload.node)] == [IPv4Address, str, str]
        assert all(isinstance(word, str) for word in workload.command)
    assert {workload.node for workload in mesh.workloads} <= {node.name for node in mesh.nodes}


def check(config: Config, previous: Previous | None = None) -> None:
    """Parse gives a mesh, or a report that tells of every mistake where, why and what to do."""
    problems: Sequence[Problem] | None = None
    try:
        check_types(parse(config, previous))
    except ConfigError as error:
        problems = error.problems
    assert problems is None or len(problems) > 0
    assert all(problem.path and problem.reason and problem.fix for problem in problems or [])


@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), anything))
def test_no_configuration_whatever_breaks_the_parser(config: Config) -> None:
    check(config)


@given(garbage, st.dictionaries(labels, addresses))
def test_no_nearly_right_configuration_breaks_the_parser(config: Config, previous: Previous) -> None:
    check(config, previous)


@pytest.mark.parametrize("key", KEYS)
@given(value=anything)
def test_no_value_of_a_key_breaks_the_parser(key: str, value: Any) -> None:
    check(DEV | {key: value})


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["name", "address", "other"], anything)))
def test_no_node_breaks_the_parser(node: Config) -> None:
    check(DEV | {"nodes": [A, B, node]})


@given(
    st.fixed_dictionaries(
        {"name": st.just("web"), "node": st.just("node-a")},
        optional=dict.fromkeys(["image", "build", "command"], anything | st.just("nginx")),
    )
)
def test_no_workload_breaks_the_parser(workload: Config) -> None:
    check(DEV | {"services": [], "workloads": [workload]})
