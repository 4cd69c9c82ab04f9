"""The mesh of the dev stack, written by hand, and a seed to derive its keys from."""

from ipaddress import IPv4Address, IPv4Network

from vpn.model.access import Access
from vpn.model.keys import KeyRing
from vpn.model.policy import Ports, Service, open_policy
from vpn.model.topology import Node, Topology, Workload

SEED = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
KEYS = KeyRing(seed=SEED, mesh="wireguard")

NODE_A = Node(
    name="node-a",
    address=IPv4Address("10.0.0.1"),
    underlay=IPv4Address("172.20.0.2"),
    site=IPv4Network("10.64.1.0/24"),
    host_port=51820,
)
NODE_B = Node(
    name="node-b",
    address=IPv4Address("10.0.0.2"),
    underlay=IPv4Address("172.20.0.3"),
    site=IPv4Network("10.64.2.0/24"),
    host_port=51821,
)
ACCESS = Access(
    member_range=IPv4Network("10.65.0.0/24"),
    gate_range=IPv4Network("10.66.0.0/28"),
    chain_port=8545,
    rpc_url=None,
    contract="0x5fbdb2315678afecb367f032d93f642f64180aa3",
    finality="latest",
    lease=300,
    tick=1,
    max_head_age=0,
)
PAGE = Service(name="page", at="nginx-server", node="node-a", ports=(Ports(protocol="tcp", first=80, last=80),))
MESH = Topology(
    name="wireguard",
    domain="vpn.dstack",
    vpn_range=IPv4Network("10.0.0.0/24"),
    underlay_range=IPv4Network("172.20.0.0/16"),
    site_range=IPv4Network("10.64.0.0/16"),
    listen_port=51820,
    mtu=1420,
    keepalive=25,
    key_generation=1,
    nodes=(NODE_A, NODE_B),
    workloads=(
        Workload(name="nginx-server", node="node-a", address=IPv4Address("10.64.1.3"), build="docker/nginx"),
        Workload(name="test-client", node="node-b", address=IPv4Address("10.64.2.3"), build="docker/test-client"),
    ),
    policy=open_policy(("node-a", "node-b"), (PAGE,)),
    access=ACCESS,
)
