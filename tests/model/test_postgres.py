"""A PostgreSQL cluster: what is read, what is refused, what the mesh lets pass for it and what its containers read."""

import json
import ssl
from ipaddress import IPv4Network
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.model.example import SEED
from vpn.model import certificates, names
from vpn.model.bundle import cluster_files
from vpn.model.config import parse
from vpn.model.grants import grants
from vpn.model.hosts import LOCAL
from vpn.model.keys import KeyRing
from vpn.model.policy import Ports
from vpn.model.postgres import ETCD, POSTGRES, Database, Timings
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

Config = dict[str, Any]
CLUSTER: Config = {
    "nodes": ["a", "b", "c"],
    "roles": [{"name": "app"}, {"name": "report"}],
    "databases": [{"name": "shop", "owner": "app"}],
}
BACKED_UP: Config = {"backups": {"node": "d"}, "generation": 2}
BASE: Config = {"nodes": [{"name": name} for name in "abcd"], "postgres": CLUSTER}
RING = KeyRing(seed=SEED, mesh="wireguard")
PASSWORDS = {name: f"secret of {name}" for name in ("replication", "rewind", "api", "app", "report")}


def with_cluster(**change: Any) -> Config:
    return BASE | {"postgres": CLUSTER | change}


def mistakes(config: Config, **more: Any) -> list[tuple[str, object]]:
    with pytest.raises(ConfigError) as caught:
        parse(config, **more)
    return [(problem.path, problem.value) for problem in caught.value.problems]


def files(topology: Topology, name: str) -> dict[str, str]:
    return cluster_files(topology, RING, PASSWORDS, LOCAL)[name]


# --- reading


def test_what_is_left_out_has_a_default() -> None:
    cluster = parse(BASE).postgres
    assert cluster is not None
    assert (cluster.nodes, cluster.clients, cluster.protect) == (tuple("abc"), tuple("abcd"), True)
    assert cluster.timings == Timings(ttl=20, loop_wait=12, retry_timeout=4)
    assert cluster.databases == (Database(name="shop", owner="app"),)


@pytest.mark.parametrize("nothing", [{}, None])
def test_without_settings_there_is_no_cluster(nothing: object) -> None:
    topology = parse(BASE | {"postgres": nothing})
    assert (topology.postgres, topology.places) == (None, ())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nodes": ["a", "b"]}, [("postgres.nodes", ["a", "b"])]),
        ({"nodes": "a"}, [("postgres.nodes", "a"), ("postgres.nodes", "a")]),
        ({"nodes": ["a", "b", "z"]}, [("postgres.nodes[2]", "z")]),
        ({"nodes": ["a", "b", "b", "c"]}, [("postgres.nodes[2]", "b")]),
        ({"clients": ["z"]}, [("postgres.clients[0]", "z")]),
        ({"version": 16}, [("postgres.version", 16)]),
        ({"memory": 64}, [("postgres.memory", 64)]),
        ({"ttl": 19}, [("postgres.ttl", 19)]),
        ({"loopWait": 13}, [("postgres.ttl", 20)]),
        ({"retryTimeout": 6}, [("postgres.ttl", 20)]),
        ({"parameters": {"fsync": False}}, [("postgres.parameters.fsync", False)]),
        ({"parameters": {"wal_level": "logical"}}, [("postgres.parameters.wal_level", "logical")]),
        ({"parameters": {"Work Mem": 1}}, [("postgres.parameters.Work Mem", 1)]),
        ({"parameters": {"work_mem": ["1MB"]}}, [("postgres.parameters.work_mem", ["1MB"])]),
        ({"parameters": {"work_mem": "1MB\nfsync=off"}}, [("postgres.parameters.work_mem", "1MB\nfsync=off")]),
        ({"parameters": {"max_connections": 5}}, [("postgres.parameters.max_connections", 5)]),
        ({"parameters": []}, [("postgres.parameters", [])]),
        ({"roles": [{"name": "postgres"}], "databases": []}, [("postgres.roles[0].name", "postgres")]),
        ({"roles": [{"name": "api"}], "databases": []}, [("postgres.roles[0].name", "api")]),
        ({"roles": [{"name": 'a"b'}], "databases": []}, [("postgres.roles[0].name", 'a"b')]),
        ({"roles": [{"name": "pg_x"}], "databases": []}, [("postgres.roles[0].name", "pg_x")]),
        ({"databases": [{"name": "shop", "owner": "nobody"}]}, [("postgres.databases[0].owner", "nobody")]),
        ({"databases": [{"name": "template1", "owner": "app"}]}, [("postgres.databases[0].name", "template1")]),
        ({"protect": "no"}, [("postgres.protect", "no")]),
        ({"parameters": {"data_sync_retry": True}}, [("postgres.parameters.data_sync_retry", True)]),
        ({"parameters": {"wal_sender_timeout": 0}}, [("postgres.parameters.wal_sender_timeout", 0)]),
        ({"parameters": {"max_connections": 5000}}, [("postgres.parameters.max_connections", 5000)]),
        ({"parameters": {"random_page_cost": inf}}, [("postgres.parameters.random_page_cost", inf)]),
        ({"backups": {"node": "z"}}, [("postgres.backups.node", "z")]),
        ({"backups": {"keep": 3}}, [("postgres.backups.node", None)]),
        ({"backups": {"node": "d", "every": 0}}, [("postgres.backups.every", 0)]),
        ({"backups": "d"}, [("postgres.backups", "d"), ("postgres.backups.node", None)]),
        ({"generation": 2}, [("postgres.generation", 2)]),
        ({"restoreTo": "2026-01-31T08:00:00Z"}, [("postgres.restoreTo", "2026-01-31T08:00:00Z")]),
        (BACKED_UP | {"restoreTo": "2026-01-31T08:00:00"}, [("postgres.restoreTo", "2026-01-31T08:00:00")]),
        (BACKED_UP | {"restoreTo": "yesterday"}, [("postgres.restoreTo", "yesterday")]),
        ({"password": "x"}, [("postgres.password", "(not shown)")]),
    ],
    ids=repr,
)
def test_a_mistake(change: Config, expected: list[tuple[str, object]]) -> None:
    assert mistakes(with_cluster(**change)) == expected


def test_members_stay_where_they_are() -> None:
    assert parse(BASE, cluster={"members": ["c", "b", "a"]}).postgres
    assert mistakes(BASE, cluster={"members": ["a", "b", "d"]}) == [("postgres.nodes", ["a", "b", "c"])]


def test_a_member_does_not_move() -> None:
    """etcd knows its members by their addresses."""
    before = {"members": list("abc"), "addresses": {"etcd-a": "10.64.9.251", "postgres-b": "10.64.2.250"}}
    assert mistakes(BASE, cluster=before) == [("postgres.nodes", "a")]


def test_a_generation_follows_the_one_before_and_memory_goes_down_by_halves() -> None:
    before = {"generation": 1, "memory": 2000}
    config = with_cluster(**BACKED_UP | {"generation": 3, "memory": 999})
    assert mistakes(config, cluster=before) == [("postgres.generation", 3), ("postgres.memory", 999)]
    assert parse(with_cluster(**BACKED_UP, memory=1000), cluster=before).postgres


def test_a_name_leaves_room_for_those_of_the_cluster() -> None:
    config = BASE | {"nodes": [*BASE["nodes"], {"name": "e" * 55}]}
    assert mistakes(config) == [("postgres.nodes", "e" * 55)]


def test_names_of_the_cluster_are_taken() -> None:
    service = {"name": "postgres-a", "at": "d", "ports": 80}
    assert mistakes(BASE | {"services": [service]}) == [("services[0].name", "postgres-a")]
    assert mistakes(BASE | {"groups": {"etcd-a": ["a"]}}) == [("groups.etcd-a", "etcd-a")]
    workload = {"name": "etcd-a", "node": "a", "image": "x"}
    assert mistakes(BASE | {"workloads": [workload]}) == [("workloads[0].name", "etcd-a")]
    node = {"name": "postgres-a"}
    assert mistakes(BASE | {"nodes": [*BASE["nodes"], node]}) == [("nodes[4].name", "postgres-a")]


def test_workloads_leave_room_for_the_cluster() -> None:
    workloads = [{"name": f"w{number}", "node": "a", "image": "x"} for number in range(248)]
    assert len(parse(BASE | {"workloads": workloads[:247]}).workloads) == 247
    assert mistakes(BASE | {"workloads": workloads}) == [("workloads", 248)]


# --- in the mesh


def test_places_have_addresses_that_no_other_change_moves_and_names() -> None:
    topology = parse(BASE)
    assert str(topology.address("postgres-a")) == "10.64.1.250"
    assert topology.node_of("haproxy-d").name == "d"
    assert topology.container("etcd-c") == "wireguard-etcd-c"
    assert "10.64.3.251 etcd-c.vpn.dstack etcd-c\n" in names.render(topology)


def test_rules_let_pass_what_the_cluster_needs_and_nothing_more() -> None:
    topology = parse(BASE | {"rules": [{"from": "a", "to": "d", "ports": 22}]})
    found = {(str(one.source), str(one.target), str(one.ports)) for one in grants(topology)}
    assert ("10.64.4.252/32", "10.64.1.250/32", "tcp/5432") in found  # a client
    assert ("10.64.1.251/32", "10.64.2.251/32", "tcp/2379-2380") in found  # two etcds
    assert not any(target.endswith(".251/32") and ".252" in source for source, target, _ in found)
    cluster = {f"10.64.{site}.{number}/32" for site in range(1, 5) for number in (250, 251, 252)}
    assert {(source, target) for source, target, _ in found if {source, target} - cluster} == {
        ("10.0.0.1/32", "10.0.0.4/32")
    }


def test_members_and_clients_have_tunnels_whatever_the_rules_say() -> None:
    topology = parse(BASE | {"rules": [{"from": "a", "to": "d", "ports": 22}]})
    assert [peer.name for peer in topology.peers_of(topology.node("b"))] == ["a", "c", "d"]


def test_a_gateway_lets_the_cluster_pass_and_a_service_can_be_at_haproxy() -> None:
    service = {"name": "db", "at": "haproxy-a", "ports": 5000}
    rules = [{"from": "d", "to": "db"}]
    topology = parse(BASE | {"topology": "hub", "hub": "d", "services": [service], "rules": rules})
    at_hub = {(str(one.source), str(one.target)) for one in grants(topology, topology.node("d"))}
    assert ("10.64.1.250/32", "10.64.2.250/32") in at_hub
    granted = [one for one in grants(topology) if one.target == IPv4Network("10.64.1.252/32")]
    assert [one.ports for one in granted] == [Ports(protocol="tcp", first=5000, last=5000)]


# --- what is read in the containers


def test_patroni_is_told() -> None:
    config = json.loads(files(parse(BASE), "postgres-a")["patroni.yml"])
    dynamic = config["bootstrap"]["dcs"]
    assert (dynamic["ttl"], dynamic["synchronous_mode"], dynamic["failsafe_mode"]) == (20, "quorum", True)
    assert dynamic["postgresql"]["use_pg_rewind"]
    assert "data-checksums" in config["bootstrap"]["initdb"]
    assert config["restapi"]["listen"] == "10.64.1.250:8008"
    assert config["restapi"]["allowlist"] == ["10.64.1.250/32", "10.64.2.250/32", "10.64.3.250/32"]
    assert config["etcd3"]["hosts"] == ["10.64.1.251:2379", "10.64.2.251:2379", "10.64.3.251:2379"]
    assert "password" not in config["postgresql"]["authentication"]["superuser"]


def test_who_may_connect_from_where() -> None:
    cluster = json.loads(files(parse(BASE), "postgres-a")["cluster.json"])
    lines = cluster["dynamic"]["postgresql"]["pg_hba"]
    rejected = lines.index("host all postgres,replication,rewind all reject")
    assert lines[0] == "local all postgres peer"
    assert {line.split()[3] for line in lines[1:rejected]} == {f"10.64.{site}.250/32" for site in (1, 2, 3)}
    assert lines[rejected + 1 :] == [f"host all all 10.64.{site}.252/32 scram-sha-256" for site in (1, 2, 3, 4)]


def test_parameters_of_the_configuration_win_over_those_of_the_cluster() -> None:
    topology = parse(with_cluster(memory=1024, parameters={"work_mem": "8MB", "shared_buffers": "100MB"}))
    parameters = json.loads(files(topology, "postgres-b")["cluster.json"])["dynamic"]["postgresql"]["parameters"]
    assert (parameters["work_mem"], parameters["shared_buffers"]) == ("8MB", "100MB")
    assert parameters["effective_cache_size"] == "512MB"


def test_only_the_members_know_the_passwords() -> None:
    topology = parse(BASE)
    for place in topology.postgres.places if topology.postgres else ():
        text = "".join(files(topology, place.name).values())
        assert ("secret of app" in text) == (place.kind == POSTGRES), place.name


def test_all_etcds_are_told_of_the_same_cluster() -> None:
    configs = [json.loads(files(parse(BASE), f"etcd-{node}")["etcd.yml"]) for node in "abc"]
    assert len({config["initial-cluster"] for config in configs}) == 1
    assert all(config["client-transport-security"]["client-cert-auth"] for config in configs)
    assert all(config["peer-transport-security"]["client-cert-auth"] for config in configs)


def test_haproxy_asks_patroni_who_is_the_primary() -> None:
    text = files(parse(BASE), "haproxy-d")["haproxy.cfg"]
    assert "bind 10.64.4.252:5000\n    http-check send meth HEAD uri /primary\n    server a 10.64.1.250:5432" in text
    assert "bind 10.64.4.252:5001\n    http-check send meth HEAD uri /replica\n" in text


# --- backups


def test_members_bring_what_they_write_and_the_place_of_the_backups_fetches_the_rest() -> None:
    topology = parse(with_cluster(backups={"node": "d", "keep": 3}))
    member, archive = (files(topology, name)["pgbackrest.conf"] for name in ("postgres-a", "backup-d"))
    assert "tls-server-auth=backup-d=*\n" in member
    assert "repo1-host=backup-d\n" in member
    assert "tls-server-auth=postgres-a=*\ntls-server-auth=postgres-b=*\ntls-server-auth=postgres-c=*\n" in archive
    assert "repo1-retention-full=3\n" in archive
    assert "backup-standby=prefer\n" in archive
    assert "[generation-1]\npg1-host=postgres-a\n" in archive
    parameters = json.loads(files(topology, "postgres-a")["cluster.json"])["dynamic"]["postgresql"]["parameters"]
    assert parameters["archive_timeout"] == "5min"
    assert parameters["archive_command"] == "pgbackrest --stanza=generation-1 archive-push %p"
    flows = {(str(one.source), str(one.target)) for one in grants(topology) if str(one.ports) == "tcp/8432"}
    there = "10.64.4.253/32"
    assert flows == {
        pair for site in (1, 2, 3) for pair in ((f"10.64.{site}.250/32", there), (there, f"10.64.{site}.250/32"))
    }


def test_a_new_generation_begins_with_what_the_one_before_had() -> None:
    topology = parse(with_cluster(**BACKED_UP, restoreTo="2026-01-31T08:00:00+01:00"))
    config = json.loads(files(topology, "postgres-a")["patroni.yml"])
    assert (config["scope"], config["postgresql"]["data_dir"]) == ("wireguard-2", "/var/lib/postgresql/2")
    assert config["bootstrap"]["method"] == "backup"
    command = config["bootstrap"]["backup"]["command"]
    assert "--stanza=generation-1 --pg1-path=/var/lib/postgresql/2" in command
    assert "'--target=2026-01-31 08:00:00+01:00' --target-action=promote" in command


def test_without_backups_nothing_is_archived() -> None:
    topology = parse(BASE)
    assert "pgbackrest.conf" not in files(topology, "postgres-a")
    assert "archive" not in files(topology, "postgres-a")["patroni.yml"]


# --- certificates


def test_a_member_proves_to_another_who_it_is(tmp_path: Path) -> None:
    cluster = parse(BASE).postgres
    assert cluster is not None
    one, other = (context(tmp_path, "wireguard", place.name) for place in cluster.members(ETCD)[:2])
    assert shake_hands(one, other, "10.64.1.251") == "10.64.1.251"


def test_who_is_of_another_cluster_or_elsewhere_is_refused(tmp_path: Path) -> None:
    server, client = context(tmp_path, "wireguard", "etcd-a"), context(tmp_path, "other", "etcd-b")
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client, "10.64.1.251")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, context(tmp_path, "wireguard", "etcd-b"), "10.64.2.251")


def context(folder: Path, cluster: str, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a member uses as server and as client."""
    topology = parse(BASE)
    own = certificates.identity(RING, cluster, name, topology.address(name))
    chain, key = folder / f"{cluster}-{name}.pem", folder / f"{cluster}-{name}.key"
    chain.write_text(own.certificate)
    key.write_text(own.key)
    contexts = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for one in contexts:
        one.verify_flags |= ssl.VERIFY_X509_STRICT
        one.verify_mode = ssl.CERT_REQUIRED
        one.load_verify_locations(cadata=certificates.authority(RING, cluster))
        one.load_cert_chain(chain, key)
    return contexts


def shake_hands(
    server: tuple[ssl.SSLContext, ssl.SSLContext], client: tuple[ssl.SSLContext, ssl.SSLContext], address: str
) -> str:
    """The address in the certificate that the client believed; raises what either side refuses."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client[1].wrap_bio(down, up, server_hostname=address)
    there = server[0].wrap_bio(up, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in (here, there):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                continue
    shown: Any = here.getpeercert()
    return str(dict(shown["subjectAltName"])["IP Address"])
