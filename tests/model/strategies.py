"""Hypothesis strategies: everything that the tests draw at random."""

import string
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.model.stack_files import DEFAULTS
from vpn.model.access import ACCESS_KEYS
from vpn.model.config import parse
from vpn.model.keys import KeyRing
from vpn.model.topology import Topology

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
raw_keys = st.binary(min_size=32, max_size=32)
seeds = st.text(string.ascii_letters + string.digits, min_size=43, max_size=43)
generations = st.integers(1, 1_000_000)

json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
addresses = st.tuples(*[st.integers(0, 255)] * 4).map(lambda octets: ".".join(map(str, octets)))
networks = st.tuples(addresses, st.integers(0, 32)).map(lambda parts: f"{parts[0]}/{parts[1]}")
plausible: SearchStrategy[Any] = addresses | networks | labels | st.integers(-1, 70000)
"""Nearly right values: they get further into the checks than mere JSON does."""

anything = json_values | plausible


def entries(**fields: SearchStrategy[Any]) -> SearchStrategy[list[Any]]:
    """Lists of mappings that have some of the fields, with right or wrong values, and of things that are no mapping."""
    entry = st.fixed_dictionaries({}, optional={key: value | anything for key, value in fields.items()})
    return st.lists(entry | json_values, max_size=4)


names = st.sampled_from(["node-a", "node-b", "nginx-server"])
node_lists = entries(name=names, address=addresses, unknown=json_values)
words = st.lists(labels, max_size=2)
workload_lists = entries(name=names, node=names, image=labels, build=labels, command=words)

WIDE_ACCESS = {"enabled": True, "memberRange": "10.65.0.0/20", "gateRange": "10.66.0.0/29"}
access = st.fixed_dictionaries(
    {"enabled": st.sampled_from([True])}, optional=dict.fromkeys([*ACCESS_KEYS[1:], "other"], anything)
)
"""Rules of access with some keys, right or wrong."""

garbage = st.fixed_dictionaries(
    {key: st.just(value) | anything for key, value in DEFAULTS.items() if key not in ("workloads", "access")},
    optional={
        "nodes": node_lists | anything,
        "workloads": workload_lists | anything,
        "access": access | anything,
        "unknown": json_values,
    },
)


@st.composite
def configs(draw: st.DrawFn, *, min_nodes: int = 1) -> dict[str, Any]:
    """A right configuration with up to five nodes and four workloads; some nodes have an address of their own."""
    drawn = draw(st.lists(labels, min_size=min_nodes, max_size=9, unique=True))
    count = draw(st.integers(min_nodes, min(len(drawn), 5)))
    wishes = draw(st.dictionaries(st.integers(100, 254), st.sampled_from(drawn[:count]), max_size=3))
    fixed = {name: number for number, name in wishes.items()}
    nodes = [{"name": name} | ({"address": f"10.0.0.{fixed[name]}"} if name in fixed else {}) for name in drawn[:count]]
    workloads = [
        {"name": name, "node": draw(st.sampled_from(drawn[:count])), "image": "nginx"} for name in drawn[count:]
    ]
    return DEFAULTS | {
        "nodes": nodes,
        "workloads": workloads,
        "keepalive": draw(st.integers(0, 60)),
        "listenPort": draw(st.integers(1, 65535)),
        "hostPort": draw(st.integers(0, 65000)),
        "keyGeneration": draw(generations),
        "access": draw(st.sampled_from([{}, {"enabled": True}, WIDE_ACCESS])),
    }


def topologies(*, min_nodes: int = 1) -> SearchStrategy[Topology]:
    """Meshes that came out of a right configuration."""
    return configs(min_nodes=min_nodes).map(parse)


def key_rings() -> SearchStrategy[KeyRing]:
    """The keys of some mesh."""
    return st.builds(KeyRing, seed=seeds, mesh=labels)
