"""Monitoring: what is read, what is refused, what the mesh lets pass for it and what its container and nodes read."""

import json
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from tests.model.example import SEED
from vpn.model import alerts, firewall, metrics, names
from vpn.model.bundle import archive, node_files
from vpn.model.config import parse
from vpn.model.grants import grants
from vpn.model.hosts import LOCAL
from vpn.model.keys import KeyRing
from vpn.model.monitoring import Monitoring
from vpn.model.monitoring_files import render
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

Config = dict[str, Any]
RING = KeyRing(seed=SEED, mesh="wireguard")
BASE: Config = {"nodes": [{"name": name} for name in "abc"], "monitoring": {"node": "b"}}
CLOSED: Config = BASE | {"rules": [{"from": "a", "to": "c", "ports": 22}]}
HOSTS: Config = {
    "hosts": [
        {"name": "fra", "docker": "ssh://fra", "address": "198.51.100.1", "region": "eu"},
        {"name": "nyc", "docker": "ssh://nyc", "address": "198.51.100.2"},
    ],
    "nodes": [{"name": "a", "host": "fra"}, {"name": "b", "host": "nyc"}],
}
CLUSTER: Config = {"postgres": {"nodes": ["a", "b", "c"]}}
SCRAPED = """\
{
  "global": {
    "scrape_interval": "5s",
    "scrape_timeout": "2s",
    "evaluation_interval": "5s"
  },
  "rule_files": [
    "rules.yml"
  ],
  "scrape_configs": [
    {
      "job_name": "nodes",
      "metrics_path": "/metrics.txt",
      "body_size_limit": "36000B",
      "sample_limit": 120,
      "label_limit": 30,
      "label_name_length_limit": 100,
      "label_value_length_limit": 200,
      "metric_relabel_configs": [
        {
          "source_labels": [
            "__name__"
          ],
          "regex": "vpn_.+",
          "action": "keep"
        }
      ],
      "static_configs": [
        {
          "targets": [
            "10.0.0.1:9586"
          ],
          "labels": {
            "instance": "a",
            "node": "a",
            "host": "fra",
            "region": "eu"
          }
        },
        {
          "targets": [
            "10.0.0.2:9586"
          ],
          "labels": {
            "instance": "b",
            "node": "b",
            "host": "nyc"
          }
        }
      ]
    }
  ]
}
"""


def with_monitoring(**change: Any) -> Config:
    return BASE | {"monitoring": BASE["monitoring"] | change}


def mistakes(config: Config) -> list[tuple[str, object]]:
    with pytest.raises(ConfigError) as caught:
        parse(config)
    return [(problem.path, problem.value) for problem in caught.value.problems]


def of(topology: Topology) -> Monitoring:
    assert topology.monitoring
    return topology.monitoring


def files(config: Config) -> dict[str, str]:
    topology = parse(config)
    return render(topology, of(topology))


# --- reading


def test_what_is_left_out_has_a_default() -> None:
    monitoring = of(parse(BASE))
    assert (monitoring.node, monitoring.interval, monitoring.webhook) == ("b", 5, None)
    assert (monitoring.retention, monitoring.size) == (15, 10)


@pytest.mark.parametrize("nothing", [{}, None])
def test_without_settings_there_is_none_and_no_node_listens(nothing: object) -> None:
    topology = parse(BASE | {"monitoring": nothing})
    assert (topology.monitoring, topology.places) == (None, ())
    for node in topology.nodes:
        own = node_files(topology, RING, node)
        assert own["metrics"] == ""
        assert "9586" not in "".join(own.values())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"node": "z"}, [("monitoring.node", "z")]),
        ({"node": None}, [("monitoring.node", None)]),
        ({"node": ["b"]}, [("monitoring.node", ["b"])]),
        ({"retention": 0}, [("monitoring.retention", 0)]),
        ({"retentionSize": 0}, [("monitoring.retentionSize", 0)]),
        ({"retention": "15d"}, [("monitoring.retention", "15d")]),
        ({"scrapeInterval": 61}, [("monitoring.scrapeInterval", 61)]),
        ({"scrapeInterval": True}, [("monitoring.scrapeInterval", True)]),
        ({"alertmanager": {"webhook": "mail"}}, [("monitoring.alertmanager.webhook", "(not shown)")]),
        ({"alertmanager": {"webhook": None}}, [("monitoring.alertmanager.webhook", None)]),
        ({"alertmanager": True}, [("monitoring.alertmanager", True), ("monitoring.alertmanager.webhook", None)]),
        ({"password": "x"}, [("monitoring.password", "(not shown)")]),
        (
            {"node": "z", "retention": 0, "scrapeInterval": 0},
            [("monitoring.node", "z"), ("monitoring.retention", 0), ("monitoring.scrapeInterval", 0)],
        ),
    ],
    ids=repr,
)
def test_a_mistake(change: Config, expected: list[tuple[str, object]]) -> None:
    assert mistakes(with_monitoring(**change)) == expected


def test_a_list_is_no_monitoring() -> None:
    assert mistakes(BASE | {"monitoring": ["b"]}) == [("monitoring", ["b"]), ("monitoring.node", None)]


def test_its_name_is_taken() -> None:
    workload = {"name": "monitoring", "node": "a", "image": "x"}
    assert mistakes(BASE | {"workloads": [workload]}) == [("workloads[0].name", "monitoring")]
    assert mistakes(BASE | {"nodes": [*BASE["nodes"], {"name": "monitoring"}]}) == [("nodes[3].name", "monitoring")]


def test_workloads_leave_room_for_it() -> None:
    workloads = [{"name": f"w{number}", "node": "b", "image": "x"} for number in range(247)]
    assert len(parse(BASE | {"workloads": workloads[:246]}).workloads) == 246
    assert mistakes(BASE | {"workloads": workloads}) == [("workloads", 247)]


# --- in the mesh


def test_it_has_an_address_that_no_other_change_moves_and_a_name() -> None:
    topology = parse(BASE)
    assert str(topology.address("monitoring")) == "10.64.2.249"
    assert topology.node_of("monitoring").name == "b"
    assert topology.container("monitoring") == "wireguard-monitoring"
    assert "10.64.2.249 monitoring.vpn.dstack monitoring\n" in names.render(topology)


def test_it_has_a_tunnel_to_every_node_whatever_the_rules_say() -> None:
    topology = parse(CLOSED)
    assert [peer.name for peer in topology.peers_of(topology.node("b"))] == ["a", "c"]


def test_rules_let_it_ask_every_node_and_nothing_more() -> None:
    source = IPv4Network("10.64.2.249")
    found = {(str(one.target), str(one.ports)) for one in grants(parse(CLOSED)) if one.source == source}
    assert found == {(f"10.0.0.{number}/32", "tcp/9586") for number in (1, 2, 3)}


def test_rules_let_it_ask_the_databases() -> None:
    source = IPv4Network("10.64.2.249")
    found = {(str(one.target), str(one.ports)) for one in grants(parse(CLOSED | CLUSTER)) if one.source == source}
    assert {target for target in found if target[1] == "tcp/8008"} == {
        (f"10.64.{number}.250/32", "tcp/8008") for number in (1, 2, 3)
    }
    assert {ports for _, ports in found} == {"tcp/9586", "tcp/8008", "tcp/2381", "tcp/8405"}


def test_a_gateway_lets_the_questions_pass() -> None:
    topology = parse(BASE | {"topology": "hub", "hub": "c", "rules": CLOSED["rules"]})
    at_hub = {(str(one.source), str(one.target)) for one in grants(topology, topology.node("c"))}
    assert ("10.64.2.249/32", "10.0.0.1/32") in at_hub


def test_rules_decide_who_sees_it() -> None:
    rules = [{"from": "a", "to": "status"}]
    topology = parse(BASE | {"services": [{"name": "status", "at": "monitoring", "ports": 9090}], "rules": rules})
    granted = {(str(one.source), str(one.ports)) for one in grants(topology) if str(one.target) == "10.64.2.249/32"}
    assert granted == {("10.0.0.1/32", "tcp/9090")}


def test_for_rules_it_is_as_a_workload_of_its_node() -> None:
    topology = parse(
        BASE | {"rules": [{"from": "b", "to": "a", "ports": 8080}, {"from": "c", "to": "b", "ports": 9090}]}
    )
    granted = {(str(one.source), str(one.target), str(one.ports)) for one in grants(topology)}
    assert ("10.64.2.249/32", "10.0.0.1/32", "tcp/8080") in granted, "Alertmanager tells somebody there"
    assert ("10.0.0.3/32", "10.64.2.249/32", "tcp/9090") in granted


def test_a_node_answers_nobody_else_also_without_rules() -> None:
    topology = parse(BASE)
    of_a, of_b = (firewall.render(topology, topology.node(name)) for name in "ab")
    only = "hook input priority filter; policy drop;\n        tcp dport 9586 ip saddr != 10.64.2.249 drop\n"
    assert only in of_a
    assert only in of_b
    beside = "ip saddr 10.64.2.249 ip daddr 10.0.0.{} tcp dport 9586 accept"
    assert beside.format(1) not in of_a
    assert beside.format(2) in of_b, "who asks from the node's own site comes through no tunnel"


def test_packets_that_no_rule_lets_pass_are_counted() -> None:
    topology = parse(BASE)
    text = firewall.render(topology, topology.node("a"))
    assert "    counter denied { }\n" in text
    assert "@ports goto granted\n        counter name denied\n    }\n" in text


# --- what is read in the containers


def test_a_node_knows_its_peers_by_name() -> None:
    topology = parse(BASE | {"links": [{"between": ["a", "c"], "transport": "tcp"}]})
    first, *peers = metrics.render(topology, RING, topology.node("a")).splitlines()
    assert first == "10.0.0.1:9586 172.20.128.1 2"
    assert [line.split()[:2] for line in peers] == [["b", "10.0.0.2"], ["c", "10.0.0.3"]]
    assert peers[0].split()[2] == RING.private_key("b", "1").public().base64()
    assert metrics.render(topology, RING, topology.node("b")).startswith("10.0.0.2:9586 none 2\n")


def test_a_node_looks_as_often_as_somebody_asks() -> None:
    for interval, pause in ((1, 1), (5, 2), (60, 30)):
        topology = parse(with_monitoring(scrapeInterval=interval))
        assert metrics.render(topology, RING, topology.node("a")).split()[2] == str(pause)


def test_prometheus_asks_by_address_and_tells_by_name() -> None:
    assert files(HOSTS | {"monitoring": {"node": "b"}})["prometheus.yml"] == SCRAPED


def test_who_is_not_let_in_yet_is_not_asked() -> None:
    topology = replace(parse(BASE), outside=frozenset({"a"}))
    assert '"node": "a"' not in render(topology, of(topology))["prometheus.yml"]
    assert '"node": "c"' in render(topology, of(topology))["prometheus.yml"]


def test_who_may_have_members_may_say_more() -> None:
    def most(config: Config) -> int:
        (job,) = json.loads(files(config)["prometheus.yml"])["scrape_configs"]
        return int(job["sample_limit"])

    members = {"access": {"enabled": True, "memberRange": "10.96.0.0/24"}}
    assert most(BASE | members) == most(BASE) + 3 * 256


def test_prometheus_asks_the_databases() -> None:
    config = json.loads(files(BASE | CLUSTER)["prometheus.yml"])
    jobs = {one["job_name"]: one["static_configs"] for one in config["scrape_configs"]}
    assert list(jobs) == ["nodes", "postgres", "etcd", "haproxy"]
    assert jobs["postgres"][0]["targets"] == ["10.64.1.250:8008"]
    kept = [one["metric_relabel_configs"][0]["regex"] for one in config["scrape_configs"]]
    assert kept == ["vpn_.+", "patroni_.+", "etcd_.+", "haproxy_.+"]
    assert jobs["etcd"][2]["labels"] == {"instance": "etcd-c", "node": "c", "host": "local"}


def test_what_prometheus_takes_only_at_its_start() -> None:
    assert files(with_monitoring(retention=30, retentionSize=2))["arguments"].splitlines() == [
        "--storage.tsdb.retention.time=30d",
        "--storage.tsdb.retention.size=2GB",
        "--web.external-url=http://monitoring.vpn.dstack:9090/",
    ]


def test_only_a_database_can_be_without_a_primary() -> None:
    without, with_one = files(BASE)["rules.yml"], files(BASE | CLUSTER)["rules.yml"]
    assert "PostgresNoPrimary" not in without
    assert "PostgresNoPrimary" in with_one


def test_there_is_an_alertmanager_only_when_there_is_somebody_to_tell() -> None:
    assert "alertmanager.yml" not in files(BASE)
    assert "alerting" not in files(BASE)["prometheus.yml"]
    told = files(with_monitoring(alertmanager={"webhook": "https://hooks.example.org/secret"}))
    (receiver,) = json.loads(told["alertmanager.yml"])["receivers"]
    assert receiver["webhook_configs"][0]["url"] == "https://hooks.example.org/secret"
    assert json.loads(told["prometheus.yml"])["alerting"]["alertmanagers"]
    assert [name for name, text in told.items() if "secret" in text] == ["alertmanager.yml"]


def test_a_webhook_may_hold_a_key_and_is_not_shown() -> None:
    assert "secret" not in repr(parse(with_monitoring(alertmanager={"webhook": "https://example.org/secret"})))


def test_every_alert_says_what_is_the_case_and_what_to_do() -> None:
    groups = alerts.rules(5, has_database=True)["groups"]
    found = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert {"NodeDown", "HandshakeStale", "MemberLeaseExpired", "ConfigNotApplied", "PostgresNoPrimary"} <= {
        rule["alert"] for rule in found
    }
    assert all({"summary", "fix"} == set(rule["annotations"]) and rule["labels"]["severity"] for rule in found)


def test_the_archive_of_its_host_alone_has_its_files() -> None:
    topology = parse(HOSTS | {"monitoring": {"node": "b"}, "hostPort": 51820})
    fra, nyc = topology.hosts
    assert len(archive(topology, RING, nyc)) > len(archive(topology, RING, fra))
    assert LOCAL not in topology.hosts


@pytest.mark.parametrize(("interval", "bound"), [(5, 180), (60, 210)])
def test_a_handshake_is_stale_by_how_often_nodes_ping(interval: int, bound: int) -> None:
    rules = [rule for group in alerts.rules(interval, has_database=False)["groups"] for rule in group["rules"]]
    (stale,) = [rule for rule in rules if rule.get("alert") == "HandshakeStale"]
    assert f"vpn:peer_handshake_age_seconds > {bound} " in stale["expr"]
