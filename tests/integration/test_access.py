"""Access follows the pass: who holds one is in on every node, who holds none is out, within seconds."""

import json
import os
import signal
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

import pytest

from bootstrap.device import Device
from tests.contracts.chain import Chain, running_chain
from tests.integration.access import CONFIG, NAME, PAGE, Gated, new_key, wg_quick
from tests.integration.hosts import Hosts, eventually
from tests.integration.relays import udp2tcp
from tests.integration.stack import Stack
from vpn.model.keys import PrivateKey

GATE, CHAIN = f"{NAME}-gate", f"{NAME}-chain"
A, B, CLIENT = f"{NAME}-a", f"{NAME}-b", f"{NAME}-client"
PING = ("ping", "-q", "-i", "0.05", "-c", "100", "10.73.0.1")
ROUNDS = 10
LEASE = 8  # seconds
REVOKED_IN, GRANTED_IN = 2, 5  # seconds


@pytest.fixture(scope="module")
def brought_up_with_access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp(NAME), dict(CONFIG), name=NAME)
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def gated(brought_up_with_access: Stack, hosts: Hosts) -> Iterator[Gated]:
    """The mesh as declared, and no pass on the chain."""
    stack = brought_up_with_access
    if stack.deployed != CONFIG or hosts.run(GATE, "health")[0]:
        stack.up(**CONFIG)
    gated = Gated(stack, hosts, Chain(hosts.get(CHAIN)))
    yield gated
    gated.clear()


def comes(device: Device) -> None:
    eventually(lambda: device.page(PAGE) is not None, 20, "the page comes")


# --- the story


def test_a_holder_gets_in_with_the_printed_config_and_a_transfer_lets_in_the_next_instead(gated: Gated) -> None:
    minted = json.loads(gated.told("pass", "mint", "1", "--json"))
    first = gated.told("client", "config", str(minted["token"]), "--account", "1")
    with gated.device(first) as old, gated.device(place=-3) as new:
        comes(old)
        ask = ("host", "-W", "2", "ita-web-a.vpn.dstack", "10.73.0.1")
        assert "has address 10.74.1.3" in gated.hosts.out(f"{old.name}-browser", *ask), "names are for members, too"
        gated.told("pass", "transfer", str(minted["token"]), "2", "--account", "1")
        eventually(lambda: old.page(PAGE) is None, 5, "the old holder is out")
        refused = gated.vpn("client", "config", str(minted["token"]), "--account", "1")
        assert (refused.returncode, refused.stdout) == (1, "")
        new.join(gated.told("client", "config", str(minted["token"]), "--account", "2"))
        comes(new)
        assert old.page(PAGE) is None
        assert {len(gated.hosts.peers(node)) for node in (A, B)} == {2}, "the other node and one member"
        (entry,) = json.loads(gated.told("pass", "list", "--json"))
        assert (entry["token"], entry["state"]) == (minted["token"], "active")
        gated.told("pass", "burn", str(minted["token"]), "--account", "2")
        eventually(lambda: new.page(PAGE) is None, 5, "nobody is in")


def test_a_suspended_member_is_out_until_lifted(gated: Gated) -> None:
    key = gated.admit(5)
    gated.told("pass", "suspend", "5")
    eventually(lambda: gated.is_out(key), 5)
    gated.told("pass", "lift", "5")
    eventually(lambda: gated.is_in(key), 5)
    assert gated.said(key)[-2:] == [("revoked", "suspended"), ("admitted", "its holder bound this key")]


def test_every_way_to_lose_a_pass_is_followed_and_told(gated: Gated) -> None:
    person, other = gated.chain.people[:2]
    for token, reason, loss in (
        (6, "burned", (person, "burn", 6)),
        (7, "transferred", (person, "transferFrom", person, other, 7)),
        (8, "key cleared", (person, "clear_key", 8)),
        (9, "another key", (person, "bind_key", 9, new_key().public().raw)),
    ):
        key = gated.admit(token)
        gated.chain.do(*loss)
        eventually(lambda key=key: gated.is_out(key), 5, reason)  # type: ignore[misc]
        assert gated.said(key) == [("admitted", "its holder bound this key"), ("revoked", reason)]


def test_a_key_that_goes_to_another_pass_leaves_the_address_of_the_first(gated: Gated) -> None:
    key, person = gated.admit(6), gated.chain.people[0]
    gated.chain.do(gated.chain.admin, "mint", person, 7)
    gated.send_all([(person, "clear_key", 6), (person, "bind_key", 7, key.public().raw)])
    expected = f"{key.public().base64()}\t10.75.0.7/32"
    eventually(lambda: expected in peers_and_addresses(gated, A) & peers_and_addresses(gated, B), 5)


# --- who must not get in


def test_a_device_without_a_pass_gets_nothing(gated: Gated) -> None:
    stranger, member = new_key(), gated.admit(1)
    with gated.device(wg_quick(gated, stranger, "10.75.0.2")) as device:
        assert device.page(PAGE) is None
        device.leave()
        device.join(wg_quick(gated, member, "10.75.0.1"))
        comes(device)


def test_a_member_speaks_only_from_the_address_of_the_pass(gated: Gated) -> None:
    key = gated.admit(1)
    gated.admit(2)
    for borrowed in ("10.75.0.2", "10.73.0.2", "10.74.2.3"):
        with gated.device(wg_quick(gated, key, borrowed)) as device:
            assert device.page(PAGE) is None, borrowed
            assert borrowed not in tracked(gated), "the node forwarded nothing"


def test_the_key_of_a_node_and_keys_that_are_none_let_nobody_in_and_harm_no_node(gated: Gated) -> None:
    chain, (person, *_) = gated.chain, gated.chain.people
    before = gated.hosts.peers(A)
    node = gated.hosts.out(B, "wg", "show", "wg0", "public-key").strip()
    for token, key in ((1, b64decode(node)), (2, b"\1" + b"\0" * 31), (3, b"\xff" * 32)):
        chain.do(chain.admin, "mint", person, token)
        chain.do(person, "bind_key", token, key)
    witness = gated.admit(4)
    assert gated.hosts.peers(A) == before | {witness.public().base64()}
    assert gated.hosts.page(CLIENT, f"{NAME}-server")
    text = gated.hosts.get(GATE).logs().decode()
    assert '"reason": "the key is a node\'s"' in text
    assert '"reason": "the key is no X25519 public key"' in text


def test_a_node_takes_no_member_from_the_gate_that_could_harm_a_peer(gated: Gated) -> None:
    """Also when it is the gate that is in wrong hands."""
    node = gated.hosts.out(B, "wg", "show", "wg0", "public-key").strip()
    before = peers_and_addresses(gated, A)
    good, others = new_key().public().base64(), [new_key().public().base64() for _ in range(4)]
    lines = [
        f"1 {node} 10.75.0.1 0x0",
        f"2 {others[0]} 10.73.0.2 0x0",
        f"3 {others[1]} 10.74.0.0/16 0x0",
        f"4 {others[2]} 0.0.0.0/0 0x0",
        f"5 {good} 10.75.0.5 0x0",
        f"6 {others[3]} 10.75.0.5 0x0",
        f"7 {good} 10.75.0.7 0x0",
        "garbage",
        "8 $(id) 10.75.0.8 0x0",
        "9 AAAA 10.75.0.9 0x0",
        f"10 {others[0]} 10.75.300.1 0x0",
        f"11 {others[0][:42]}B= 10.75.0.11 0x0",
    ]
    with forged_members(gated, lines):
        eventually(lambda: good in gated.hosts.peers(A), 5, "the one good member")
        assert peers_and_addresses(gated, A) == before | {f"{good}\t10.75.0.5/32"}
    eventually(lambda: good not in gated.hosts.peers(A), 10, "the gate is back")


@contextmanager
def forged_members(gated: Gated, lines: list[str]) -> Iterator[None]:
    """Stop the gate for a while and write in its place."""
    gate = gated.hosts.get(GATE)
    gate.stop(timeout=1)
    until = int(float(gated.hosts.out(A, "cat", "/proc/uptime").split()[0])) + 60
    boot = gated.hosts.out(A, "cat", "/proc/sys/kernel/random/boot_id").strip()
    text = "\n".join([f"{boot} {until} forged", *lines, ""])
    command = ["python3", "-c", "import sys; open('/members/members', 'w').write(sys.argv[1])", text]
    volumes = {f"{NAME}-members": {"bind": "/members", "mode": "rw"}}
    gated.hosts.client.containers.run(gate.image, command, remove=True, volumes=volumes)
    try:
        yield
    finally:
        gate.start()


def peers_and_addresses(gated: Gated, node: str) -> set[str]:
    return set(gated.hosts.out(node, "wg", "show", "wg0", "allowed-ips").splitlines())


def test_the_chain_is_out_of_reach_for_members_and_workloads(gated: Gated) -> None:
    """Whoever reaches the embedded chain is its admin."""
    key = gated.admit(1)
    probe = ["wget", "-T2", "-t1", "-qO-", "--post-data={}"]
    targets = ["http://10.76.0.2:8545", "http://10.76.0.1:58545", "http://172.31.0.1:58545"]
    with gated.device(wg_quick(gated, key, "10.75.0.1")) as device:
        comes(device)
        for target in targets:
            for container in (CLIENT, f"{device.name}-browser"):
                assert gated.hosts.run(container, *probe, target)[0] == 4, (container, target)


def test_the_gate_has_no_privilege_and_no_private_key(gated: Gated) -> None:
    status = gated.hosts.out(GATE, "cat", "/proc/1/status")
    assert {line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapBnd"))} == {"0" * 16}
    files = gated.hosts.out(GATE, "sh", "-c", "cat /etc/access-gate/* /members/*")
    for node in (A, B):
        private = gated.hosts.out(node, "wg", "show", "wg0", "private-key").strip()
        assert private not in files


# --- how fast


def test_a_revocation_is_everywhere_within_2_s_and_a_grant_within_5(gated: Gated) -> None:
    grants, revocations = [], []
    chain, (person, *_) = gated.chain, gated.chain.people
    for token in range(1, ROUNDS + 1):
        key = new_key()
        chain.do(chain.admin, "mint", person, token)
        chain.do(person, "bind_key", token, key.public().raw)
        grants.append(eventually(lambda key=key: gated.is_in(key), 10))  # type: ignore[misc]
        chain.do(person, "burn", token)
        revocations.append(eventually(lambda key=key: gated.is_out(key), 10))  # type: ignore[misc]
    told = f"grants {sorted(grants)}, revocations {sorted(revocations)}"
    print(told)
    assert median(revocations) <= REVOKED_IN, told
    assert median(grants) <= GRANTED_IN, told


# --- connections


def test_the_connections_of_who_is_out_are_cut(gated: Gated) -> None:
    key = gated.admit(1)
    with gated.device(wg_quick(gated, key, "10.75.0.1")) as device:
        comes(device)
        assert "10.75.0.1" in tracked(gated)
        gated.chain.do(gated.chain.people[0], "burn", 1)
        eventually(lambda: gated.is_out(key), 5)
        eventually(lambda: "10.75.0.1" not in tracked(gated), 2, "no connection is left")


def tracked(gated: Gated) -> str:
    return gated.hosts.out(A, "conntrack", "-L")


# --- faults


def test_a_killed_gate_comes_back_and_catches_up(gated: Gated) -> None:
    key, other = gated.admit(1), gated.admit(2)
    before = gated.hosts.get(GATE).attrs["State"]["StartedAt"]
    os.kill(gated.hosts.get(GATE).attrs["State"]["Pid"], signal.SIGKILL)
    gated.chain.do(gated.chain.people[0], "burn", 1)
    eventually(lambda: gated.is_out(key), 15, "it catches up")
    assert gated.hosts.get(GATE).attrs["State"]["StartedAt"] != before
    assert gated.is_in(other)
    assert gated.said(other) == [("admitted", "its holder bound this key")], "nobody is admitted twice"


def test_when_the_chain_is_silent_members_stay_for_the_lease_and_nodes_for_ever(gated: Gated) -> None:
    gated.stack.up(access=CONFIG["access"] | {"leaseSeconds": LEASE})
    key, chain = gated.admit(1), gated.hosts.get(CHAIN)
    chain.pause()
    try:
        assert eventually(lambda: gated.is_out(key), LEASE + 10, "the lease is over") > LEASE - 3
        eventually(lambda: gated.said(key)[-1] == ("revoked", "lease expired"), 15)
        assert gated.hosts.run(GATE, "health")[0] == 1
        assert gated.hosts.page(CLIENT, f"{NAME}-server"), "the mesh itself goes on"
    finally:
        chain.unpause()
    eventually(lambda: gated.is_in(key), 15, "the chain answers again")
    assert gated.hosts.run(GATE, "health")[0] == 0


def test_without_a_gate_the_nodes_end_the_lease_themselves(gated: Gated) -> None:
    gated.stack.up(access=CONFIG["access"] | {"leaseSeconds": LEASE})
    key = gated.admit(1)
    gated.hosts.get(GATE).stop(timeout=5)
    assert gated.is_in(key)
    eventually(lambda: gated.is_out(key), 15, "nodes need no gate to put somebody out")
    eventually(lambda: "members: no lease" in gated.hosts.run(A, "health")[1], 5, "the node says why")
    assert gated.hosts.page(CLIENT, f"{NAME}-server")
    gated.stack.up()
    eventually(lambda: gated.is_in(key), 10, "the next up repairs it")


def test_a_chain_that_was_stopped_makes_up_fail_with_the_gate_named_and_the_next_repairs(gated: Gated) -> None:
    gated.hosts.get(CHAIN).pause()
    try:
        refused = gated.stack.run("up", "--yes", "--skip-preview", "--refresh=false")
    finally:
        gated.hosts.get(CHAIN).unpause()
    assert refused.returncode != 0
    assert "waiting for: gate" in refused.stdout
    gated.stack.up()


# --- changes


def test_a_new_node_knows_the_members_and_nothing_else_is_replaced(gated: Gated) -> None:
    key = gated.admit(1)
    before = gated.hosts.ids(A, B, CLIENT, GATE, CHAIN)
    service = {"name": "ita-web-c", "at": "c", "ports": 80}
    gated.stack.up(nodes=[*CONFIG["nodes"], {"name": "c"}], services=[*CONFIG["services"], service])
    wider = Gated(gated.stack, gated.hosts, gated.chain, ("a", "b", "c"))
    eventually(lambda: wider.is_in(key), 5)
    assert gated.hosts.ids(A, B, CLIENT, GATE, CHAIN) == before
    assert sorted(gated_nodes(gated)) == ["a", "b", "c"]


def gated_nodes(gated: Gated) -> dict[str, str]:
    settings: dict[str, dict[str, str]] = json.loads(gated.hosts.out(GATE, "cat", "/etc/access-gate/settings.json"))
    return settings["nodes"]


def test_turned_off_nobody_but_the_nodes_is_left_and_no_container_is_replaced(gated: Gated) -> None:
    key = gated.admit(1)
    before = gated.hosts.ids(A, B, CLIENT)
    try:
        gated.stack.up(access={})
        assert gated.is_out(key)
        assert "10.75.0.0/20" not in gated.hosts.out(A, "ip", "route")
        assert gated.hosts.ids(A, B, CLIENT) == before
        assert [one.name for one in gated.hosts.client.containers.list(all=True) if one.name in (GATE, CHAIN)] == []
    finally:
        gated.stack.up(**CONFIG)
        gated.chain = Chain(gated.hosts.get(CHAIN))


CANARY = "hunter2-canary"


def test_a_real_chain_takes_the_place_of_ours_and_its_url_is_a_secret(gated: Gated, chain_image: str) -> None:
    member, hosts = gated.admit(1), gated.hosts
    network = hosts.client.networks.get(f"{NAME}-access")
    with running_chain(chain_image, 20) as real:
        network.connect(real.container, ipv4_address="10.76.0.9")
        gated.stack.configure(access=CONFIG["access"] | {"contractAddress": real.contract.address})
        url = f"http://10.76.0.9:8545/?key={CANARY}"
        try:
            set_secret = gated.stack.run("config", "set", "--secret", "--path", "access.rpcUrl", url)
            assert set_secret.returncode == 0, set_secret.stderr
            done = gated.stack.run("up", "--yes", "--skip-preview")
            assert done.returncode == 0, done.stdout
            assert gated.is_out(member), "a member by another chain"
            other = Gated(gated.stack, hosts, real)
            other.admit(2)
            shown = [hosts.client.api.inspect_container(one.id) for one in hosts.client.containers.list(all=True)]
            texts = [
                done.stdout,
                done.stderr,
                json.dumps(shown),
                json.dumps(gated.stack.outputs()),
                hosts.get(GATE).logs().decode(),
            ]
            texts += [path.read_text() for path in gated.stack.backend.rglob("*.json")]
            assert [text[:80] for text in texts if CANARY in text] == []
            assert CANARY in hosts.out(GATE, "cat", "/etc/access-gate/settings.json")
        finally:
            network.disconnect(real.container)
            gated.stack.up(**CONFIG)
            gated.chain = Chain(hosts.get(CHAIN))


def test_a_member_comes_over_tcp_to_the_published_relay(gated: Gated) -> None:
    gated.stack.up(proxyPort=58443)
    config = wg_quick(gated, gated.admit(1), "10.75.0.1").replace(
        "Endpoint = 172.31.0.2:51820", "Endpoint = 127.0.0.1:51820"
    )
    image = gated.hosts.get(f"{NAME}-mullvad-proxy-a").image
    with gated.device() as device, udp2tcp(gated.hosts, image, device.name, "172.31.0.1:58443") as relay:
        device.join(config)
        comes(device)
        eventually(lambda: ": connected" in gated.hosts.out(relay, "health"), 5, "it says so, twice a second")
        endpoints = gated.hosts.out(A, "wg", "show", "wg0", "endpoints")
        assert "\t172.31.128.1:" in endpoints, "the member is behind the node's own relay"


# --- many


def test_a_tick_with_1000_members_and_10_changes_takes_less_than_1_s_and_touches_no_other(gated: Gated) -> None:
    witness, keys = gated.admit(4000), [new_key() for _ in range(1000)]
    person = gated.chain.people[0]
    gated.send_all((gated.chain.admin, "mint", person, token) for token in range(1, 1001))
    gated.send_all((person, "bind_key", token, key.public().raw) for token, key in enumerate(keys, 1))
    eventually(lambda: gated.is_in(keys[-1]), 60, "a thousand are in")
    with gated.device(wg_quick(gated, witness, "10.75.15.160")) as device, ThreadPoolExecutor() as pool:
        comes(device)
        before = handshakes(gated, witness)
        report = pool.submit(gated.hosts.run, device.name, *PING)
        changed = [new_key() for _ in range(10)]
        gated.send_all((person, "bind_key", token, key.public().raw) for token, key in enumerate(changed, 1))
        took = eventually(lambda: gated.is_in(changed[-1]), 4, "the nodes changed ten while they were pinged")
        assert "100 packets transmitted, 100 received" in report.result()[1]
        assert handshakes(gated, witness) == before
    judged = float(gated.hosts.out(GATE, "health").split()[-2])
    print(f"10 of 1000: the gate judged in {judged:.3f} s, on every node {took:.2f} s after the block")
    assert judged < 1
    assert gated.is_out(keys[0])
    assert len(gated.hosts.peers(A)) == 1002


def handshakes(gated: Gated, key: PrivateKey) -> list[str]:
    """When each node last shook hands with a member."""
    lines = [
        line for node in (A, B) for line in gated.hosts.out(node, "wg", "show", "wg0", "latest-handshakes").splitlines()
    ]
    return [line for line in lines if key.public().base64() in line]
