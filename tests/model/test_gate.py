"""The settings of the access gate."""

import json
from dataclasses import replace

from hypothesis import given

from contracts.chain import ADDRESS, PORT
from tests.model.example import ACCESS, KEYS, MESH
from tests.model.strategies import key_rings, topologies
from vpn.model import gate
from vpn.model.access import CHAIN_CONTRACT, CHAIN_RPC_PORT
from vpn.model.keys import KeyRing
from vpn.model.topology import Topology

SETTINGS = """\
{
  "rpcUrl": "http://10.66.0.2:8545",
  "contract": "0x5fbdb2315678afecb367f032d93f642f64180aa3",
  "finality": "latest",
  "lease": 300,
  "tick": 1,
  "maxHeadAge": 0,
  "memberRange": "10.65.0.0/24",
  "nodes": {
    "node-a": "BLWV2dMEZgI15/DBn3kBEiUskykrMt2Y1SeBJZcoQxQ=",
    "node-b": "QAhfL+4eEJb8s2wnYO/xldKDjdxqV9XsoBcmvp6Q5Q0="
  },
  "admitting": [
    "node-a"
  ]
}
"""


def test_the_settings_of_the_dev_stack() -> None:
    assert gate.render(MESH, KEYS, ACCESS) == SETTINGS


def test_a_real_chain_is_asked_where_it_is() -> None:
    real = replace(ACCESS, rpc_url="https://rpc.example/key", max_head_age=300)
    assert json.loads(gate.render(MESH, KEYS, real))["rpcUrl"] == "https://rpc.example/key"


def test_contract_and_port_are_those_of_the_chain_image() -> None:
    assert (CHAIN_CONTRACT, CHAIN_RPC_PORT) == (ADDRESS, PORT)


@given(topologies(min_nodes=2), key_rings())
def test_the_gate_is_told_no_private_and_no_preshared_key(mesh: Topology, keys: KeyRing) -> None:
    told = gate.render(mesh, keys, ACCESS)
    names = [node.name for node in mesh.nodes]
    private = [keys.private_key(name, mesh.key_generation).base64() for name in names]
    shared = [keys.preshared_key(names[0], name, mesh.key_generation).base64() for name in names[1:]]
    assert [key for key in (*private, *shared, keys.seed) if key in told] == []
    assert len(json.loads(told)["nodes"]) == len(names)
