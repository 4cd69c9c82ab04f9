"""What nodes tell is so, faults are told in time, and the page shows them in a browser on the mesh."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contracts.chain import Chain
from tests.integration.access import new_key
from tests.integration.exporter import exporter, peak
from tests.integration.hosts import Hosts, eventually
from tests.integration.monitored import BROWSER, IMAGE, PROGRAMS, Monitored, Page, browsed
from tests.integration.stack import Stack

NAME, CLIENT, MONITORING = "itm", "itm-client", "itm-monitoring"
NODES = ("a", "b", "c", "d", "e")
URL = "http://monitoring.vpn.dstack:9090/user/"
HOOK_PORT = 8080
CONFIG: dict[str, Any] = {
    "name": NAME,
    "vpnRange": "10.94.0.0/24",
    "underlayRange": "172.25.0.0/16",
    "siteRange": "10.95.0.0/16",
    "hostPort": 0,
    "nodes": [{"name": name} for name in NODES],
    "workloads": [{"name": CLIENT, "node": "b", "build": "docker/test-client"}],
    "services": [{"name": "status", "at": "monitoring", "ports": 9090}, {"name": "itm-page", "at": "a", "ports": 80}],
    "rules": [
        {"from": "b", "to": "status"},
        {"from": "b", "to": "a", "ports": 9586},  # in vain: a node answers its monitoring alone
        {"from": "c", "to": "b", "ports": HOOK_PORT},
        {"from": "a", "to": "d", "ports": 22},
        {"from": "members", "to": "itm-page"},
    ],
    "access": {
        "enabled": True,
        "memberRange": "10.96.0.0/24",
        "gateRange": "10.97.0.0/28",
        "chainPort": 58645,
        "leaseSeconds": 10,
    },
    "monitoring": {"node": "c", "alertmanager": {"webhook": f"http://{CLIENT}:{HOOK_PORT}/"}},
}
METRICS_PORT = 9586
MOST_MEMORY = 4 << 20  # bytes a node
MANY = 50  # peers
MEASURED_SECONDS = 5  # more than one look at all of them
ALERT_SECONDS, PAGE_SECONDS = 60, 10
STALE_SECONDS = 200  # a handshake may just have been, and is stale after 180
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
CUT = """
table inet cut {
    chain from { type filter hook prerouting priority -400; ip saddr %s drop; }
    chain to { type filter hook output priority -400; ip daddr %s drop; }
}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hosts: Hosts) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp(NAME), dict(CONFIG), name=NAME)
    with ThreadPoolExecutor() as pool:
        image = pool.submit(hosts.client.images.build, path=str(BROWSER), tag=IMAGE, rm=True)
        try:
            stack.up()
            image.result()
            yield stack
        finally:
            stack.destroy()
            image.exception()  # it may not be done yet
            hosts.client.images.remove(IMAGE, force=True)


@pytest.fixture(scope="module")
def monitored(stack: Stack, hosts: Hosts) -> Monitored:
    found = Monitored(hosts, stack.config["name"], CLIENT)
    links = {(node, peer) for node, peer in (("a", "c"), ("b", "c"), ("c", "d"), ("c", "e"), ("a", "d"))}
    links |= {(peer, node) for node, peer in links} | {("a", "b"), ("b", "a")}
    eventually(lambda: found.samples("vpn_peer_up == 1").keys() == links, 30, "every link is known, and up")
    return found


@pytest.fixture(scope="module")
def page(monitored: Monitored) -> Iterator[Page]:
    with browsed(monitored.hosts, IMAGE, CLIENT, URL) as page:
        yield page


@pytest.fixture(scope="module")
def cut_at(stack: Stack, page: Page, hosts: Hosts) -> Iterator[float]:
    """When the link between a and d was cut; it is whole again in the end."""
    far = stack.outputs()["nodes"]["d"]["endpoint"].partition(":")[0]
    assert page.states()[-1]["shapes"]["Link a - d"] == "link up"
    at = time.time()
    hosts.out("itm-a", "sh", "-c", 'printf "%s" "$1" | nft -f -', "sh", CUT % (far, far))
    yield at
    hosts.out("itm-a", "nft", "delete", "table", "inet", "cut")


# --- what nodes tell


def test_the_page_shows_a_killed_link_within_10_s(cut_at: float, page: Page, monitored: Monitored) -> None:
    seconds = page.shows("Link a - d", "link down", cut_at, 2 * PAGE_SECONDS)
    print(f"the page shows a killed link after {seconds:.1f} s")
    assert seconds < PAGE_SECONDS
    monitored.fires("LinkDown", "a", ALERT_SECONDS)
    page.tells("LinkDown (firing): From node a nothing gets through to d.", 5)
    assert page.states()[-1]["shapes"]["Link b - c"] == "link up"


def test_what_is_told_of_peers_is_what_wireguard_says(monitored: Monitored, hosts: Hosts) -> None:
    keys = {node: hosts.out(f"itm-{node}", "wg", "show", "wg0", "public-key").strip() for node in NODES}

    def shown(what: str) -> dict[str, list[int]]:
        lines = [line.split() for line in hosts.out("itm-c", "wg", "show", "wg0", what).splitlines()]
        return {name: [int(one) for one in more] for key, *more in lines for name in NODES if keys[name] == key}

    before, handshakes = shown("transfer"), shown("latest-handshakes")
    received, sent = (f'vpn_peer_{way}_bytes_total{{node="c"}}' for way in ("received", "sent"))
    for peer, (least_received, least_sent) in before.items():
        eventually(lambda p=peer, n=least_received: monitored.samples(received)["c", p] >= n, 15)  # type: ignore[misc]
        eventually(lambda p=peer, n=least_sent: monitored.samples(sent)["c", p] >= n, 15)  # type: ignore[misc]
    after = shown("transfer")
    for peer, (most_received, most_sent) in after.items():
        assert monitored.samples(f"{received} offset 10s")["c", peer] <= most_received
        assert monitored.samples(f"{sent} offset 10s")["c", peer] <= most_sent
    told = monitored.samples('vpn_peer_last_handshake_timestamp_seconds{node="c"}')
    assert all(abs(told["c", peer] - at) <= 130 for peer, (at,) in handshakes.items())
    assert set(before) == {"a", "b", "d", "e"}


def test_what_is_told_of_a_node_is_what_it_says(monitored: Monitored, hosts: Hosts) -> None:
    for node in NODES:
        _, generation, dataplane, *_ = hosts.out(f"itm-{node}", "health").replace(",", "").split()
        labels = f'node="{node}",wanted="{generation}",applied="{generation}"'
        assert monitored.samples(f"vpn_config_info{{{labels}}}") == {(node, ""): 1}
        assert monitored.samples(f'vpn_kernel{{node="{node}"}}') == {(node, ""): float(dataplane == "kernel")}
    assert monitored.samples("vpn_config_applied") == {(node, ""): 1 for node in NODES}
    assert monitored.samples("vpn_members") == {("a", ""): 0}, "members are told of where they get in"
    assert monitored.samples("vpn_member_lease_valid") == {("a", ""): 1}


def test_packets_that_no_rule_lets_pass_are_counted(monitored: Monitored, hosts: Hosts) -> None:
    before = monitored.samples("vpn_denied_packets_total")["b", ""]
    assert hosts.run(CLIENT, "wget", "-T1", "-t1", "-qO-", "http://10.94.0.1:22")[0] != 0
    eventually(lambda: monitored.samples("vpn_denied_packets_total")["b", ""] > before, 15)


def test_a_node_answers_its_monitoring_alone(monitored: Monitored, hosts: Hosts) -> None:
    ask = ("wget", "-T2", "-t1", "-qO-", f"http://10.94.0.1:{METRICS_PORT}/metrics.txt")
    assert hosts.run(CLIENT, *ask)[0] != 0, "the rules alone would let it pass"
    assert "vpn_peer_up" in hosts.out(MONITORING, "busybox", *ask[:1], "-T2", "-qO-", ask[-1])
    for node in NODES:
        listening = hosts.out(f"itm-{node}", "ss", "-Hlnt", f"sport = :{METRICS_PORT}").split()
        assert listening[3] == f"10.94.0.{NODES.index(node) + 1}:{METRICS_PORT}"
    assert monitored.name == NAME


def test_what_a_node_answers_holds_no_key(monitored: Monitored, hosts: Hosts) -> None:
    text = hosts.out("itm-a", "cat", "/run/metrics/metrics.txt", "/run/wireguard/facts")
    secrets = hosts.out("itm-a", "sh", "-c", "sed -nE 's/^(PrivateKey|PresharedKey) = //p' /etc/wireguard/wg0.conf")
    assert len(secrets.split()) >= 4
    assert not [one for one in secrets.split() if one in text], monitored.name


def test_it_costs_a_node_less_than_4_mib_however_many_peers(monitored: Monitored, hosts: Hosts) -> None:
    """All processes at the peak, also those that are there for a moment; half of the peers are dead."""
    image = hosts.get("itm-a").image.id
    with exporter(hosts.client, image, f"{monitored.name}-exporter", MANY) as container:
        eventually(lambda: hosts.run(container.name, "test", "-e", "/run/metrics/metrics.txt")[0] == 0, 30)
        used = peak(int(hosts.get(container.name).attrs["State"]["Pid"]), MEASURED_SECONDS)
        text = hosts.out(container.name, "cat", "/run/metrics/metrics.txt")
        assert sorted(re.findall("vpn_peer_up.* ([01])", text)) == ["0"] * (MANY // 2) + ["1"] * (MANY // 2)
    print(f"metrics cost a node with {MANY} peers {used / 2**20:.2f} MiB")
    assert used < MOST_MEMORY


def test_the_dashboard_shows_something_everywhere(monitored: Monitored, hosts: Hosts) -> None:
    text = hosts.out(CLIENT, "wget", "-T5", "-t1", "-qO-", f"{URL}dashboard.json")
    panels = json.loads(text)["panels"]
    for expression in (target["expr"] for panel in panels for target in panel["targets"]):
        assert monitored.samples(expression.replace("$__rate_interval", "1m")), expression


# --- the page


def test_the_page_is_for_everybody(page: Page) -> None:
    found = page.inspected(URL)
    assert found["stops"][0] == "To the tables"
    nodes = [stop for stop in found["stops"] if stop.startswith("Node ")]
    assert [stop.split()[1] for stop in nodes] == list(NODES), "each is a stop of the keyboard, once"
    assert all(detail == stop for stop, detail in zip(found["stops"], found["details"], strict=True) if stop in nodes)
    assert {"nodes-title", "links-title"} <= set(found["stops"]), "tables can be scrolled without a mouse"
    assert found["light"]["background"] != found["dark"]["background"]
    assert min(found["light"]["least"], found["dark"]["least"]) >= LEAST_CONTRAST
    assert (found["unnamed"], found["language"]) == ([], "en")
    assert found["origins"] == ["http://monitoring.vpn.dstack:9090"], "it needs nobody else"
    assert found["complaints"] == []


def test_no_web_site_reads_it_through_a_browser(monitored: Monitored, hosts: Hosts) -> None:
    command = ("wget", "-S", "-T5", "-t1", "-O", "-", "--header=Origin: http://elsewhere.example")
    said = hosts.out(monitored.client, *command, "http://monitoring.vpn.dstack:9090/api/v1/query?query=up")
    assert '"status":"success"' in said
    assert "Access-Control-Allow-Origin" not in said


def test_the_page_shows_who_came_and_who_went(page: Page, monitored: Monitored) -> None:
    chain = Chain(monitored.hosts.get("itm-chain"))
    person = chain.people[0]
    chain.do(chain.admin, "mint", person, 7)
    chain.do(person, "bind_key", 7, new_key().public().raw)
    page.tells("pass 7 admitted", 30)
    assert monitored.samples('vpn_member{token="7",address="10.96.0.7"}') == {("a", ""): 1}
    chain.do(person, "burn", 7)
    page.tells("pass 7 revoked", 30)
    assert monitored.samples("vpn_members") == {("a", ""): 0}


# --- faults


def test_a_lease_that_ran_out_and_a_config_that_is_not_applied_are_told(
    monitored: Monitored, page: Page, hosts: Hosts
) -> None:
    """The one also to whom Alertmanager was told of."""
    page.container.exec_run(["sh", "-c", f"python3 {PROGRAMS}/hook.py {HOOK_PORT} >/tmp/told"], detach=True)
    gate, carrier = hosts.get("itm-gate"), hosts.get("itm-config")
    gate.stop(timeout=1)
    carrier.stop(timeout=1)
    hosts.out("itm-b", "sh", "-c", "echo garbage >>/etc/wireguard/hosts")
    lease = monitored.fires("MemberLeaseExpired", "a", ALERT_SECONDS)
    told = eventually(lambda: "MemberLeaseExpired" in page.container.exec_run(["cat", "/tmp/told"])[1].decode(), 30)
    config = lease + told + monitored.fires("ConfigNotApplied", "b", ALERT_SECONDS)
    print(f"a lease that ran out is told after {lease:.0f} s, a config that is not applied after {config:.0f} s")
    assert config < ALERT_SECONDS
    gate.start()
    carrier.start()
    monitored.ends("MemberLeaseExpired", "a", 30)
    monitored.ends("ConfigNotApplied", "b", 30)


def test_a_killed_node_is_told_and_shown(monitored: Monitored, page: Page, hosts: Hosts) -> None:
    at = time.time()
    hosts.get("itm-e").kill()
    shown = page.shows("Node e", "node down", at, 2 * PAGE_SECONDS)
    told = monitored.fires("NodeDown", "e", ALERT_SECONDS)
    print(f"the page shows a killed node after {shown:.1f} s, and it is told after {told:.0f} s")
    assert shown < PAGE_SECONDS
    hosts.get("itm-e").start()
    page.shows("Node e", "node up", at + shown, 30)
    monitored.ends("NodeDown", "e", 30)


# --- changes


def test_a_new_node_is_asked_at_once_samples_stay_longer_and_nothing_is_replaced(
    stack: Stack, monitored: Monitored, page: Page, hosts: Hosts
) -> None:
    before = hosts.ids(MONITORING, "itm-a", "itm-b", "itm-c")
    at = time.time()
    stack.up(nodes=[*CONFIG["nodes"], {"name": "f"}], monitoring=CONFIG["monitoring"] | {"retention": 30})
    page.shows("Link c - f", "link up", at, 30)
    assert monitored.samples('up{node="f"}') == {("f", ""): 1}
    assert monitored.ask("status/flags")["storage.tsdb.retention.time"] == "30d"
    assert monitored.samples("count_over_time(vpn_kernel[10m])")["a", ""] > 10, "what was before is still there"
    assert hosts.ids(MONITORING, "itm-a", "itm-b", "itm-c") == before
    assert set(stack.changes()) == {"same"}


def test_a_link_that_stays_dead_has_a_stale_handshake(cut_at: float, monitored: Monitored) -> None:
    monitored.fires("HandshakeStale", "a", STALE_SECONDS - (time.time() - cut_at))
    monitored.fires("HandshakeStale", "d", 30)


def test_turned_off_no_node_listens_and_no_node_is_replaced(stack: Stack, hosts: Hosts) -> None:
    before = hosts.ids("itm-a", "itm-b", "itm-c", CLIENT)
    stack.up(monitoring=None, services=CONFIG["services"][1:], rules=CONFIG["rules"][1:])
    eventually(lambda: hosts.out("itm-a", "ss", "-Hlnt", f"sport = :{METRICS_PORT}") == "", 10, "nothing listens")
    assert hosts.ids("itm-a", "itm-b", "itm-c", CLIENT) == before
    assert [one.name for one in hosts.client.containers.list(all=True) if one.name == MONITORING] == []
