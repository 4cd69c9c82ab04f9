"""What a node tells Prometheus, out of what the sources on it say."""

import json
import re
import subprocess
from pathlib import Path

from tests.model.stack_files import PROJECT
from vpn.model import alerts

PROGRAM = PROJECT / "docker/wireguard/metrics.awk"
PAGE = PROJECT / "docker/monitoring/page"
FACTS = """\
# list
10.0.0.1:9586 172.20.128.1 2
b 10.0.0.2 KEYB=
c 10.0.0.3 KEYC=
d 10.0.0.4 KEYD=
# state
ok, new keys wait for their moment
# dataplane
userspace wireguard-go
# latest-handshakes
KEYB=\t1795621372
KEYC=\t1795621300
KEYD=\t0
MEMBER=\t1795621000
# transfer
KEYB=\t18446744073709551615\t1552
KEYC=\t3260\t8900
KEYD=\t0\t0
MEMBER=\t7\t8
# endpoints
KEYB=\t172.20.0.3:51820
KEYC=\t172.20.128.1:20003
KEYD=\t(none)
# pings
PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.
PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.
64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.5 ms
From 10.0.0.1 icmp_seq=1 Destination Host Unreachable
64 bytes from 10.9.9.9: icmp_seq=1 ttl=64 time=1 ms
# denied
table inet dstack_vpn {
\tcounter denied {
\t\tpackets 5 bytes 300
\t}
}
# times
/run/wireguard/state 1795621378
/run/wireguard/config/SHA256SUMS 1795621372
/members/members 1795621383
# sums
e4c9add7ea3e0000000000000000000000000000000000000000000000000000  /etc/wireguard/SHA256SUMS
a1b2c3d4e5f60000000000000000000000000000000000000000000000000000  /run/wireguard/config/SHA256SUMS
# node
applied 0
now 1795621384
lease 1
# members
1 MEMBER= 10.65.0.1 0xabc
2 OTHER= 10.65.0.2 0xdef
$(id) KEY= 10.65.0.3 0x0
4 KEY= x"} 0x0
"""
ALONE = "# list\n10.0.0.1:9586 none 2\n# state\nok 0123 kernel\n# dataplane\nkernel\n# node\napplied 1\nnow 1\n"
SAMPLE = re.compile(r'(vpn_[a-z_]+)(\{([a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*)\})? ([0-9.e+-]+)')


def told(folder: Path, facts: str) -> dict[str, str]:
    """Value of every sample, by its name and labels."""
    source = folder / "facts"
    source.write_text(facts)
    text = subprocess.run(["awk", "-f", PROGRAM, source], capture_output=True, text=True, check=True, timeout=10).stdout
    samples, types = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            types.add(line.split()[2])
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in types, "a type is said before"
            samples[line.rsplit(" ", 1)[0]] = line.rsplit(" ", 1)[1]
    return samples


def test_a_peer_is_told_by_name(tmp_path: Path) -> None:
    samples = told(tmp_path, FACTS)
    assert samples['vpn_peer_received_bytes_total{peer="b"}'] == "18446744073709551615", "not as a rounded number"
    assert samples['vpn_peer_sent_bytes_total{peer="c"}'] == "8900"
    assert samples['vpn_peer_last_handshake_timestamp_seconds{peer="c"}'] == "1795621300"
    assert [samples[f'vpn_peer_up{{peer="{name}"}}'] for name in "bcd"] == ["1", "0", "0"]
    assert samples['vpn_peer_round_trip_seconds{peer="b"}'] == "0.0005"
    assert [samples[f'vpn_peer_over_tcp{{peer="{name}"}}'] for name in "bc"] == ["0", "1"]


def test_what_never_was_is_absent(tmp_path: Path) -> None:
    samples = told(tmp_path, FACTS)
    assert 'vpn_peer_last_handshake_timestamp_seconds{peer="d"}' not in samples
    assert 'vpn_peer_over_tcp{peer="d"}' not in samples
    assert 'vpn_peer_round_trip_seconds{peer="c"}' not in samples


def test_a_node_tells_how_it_is(tmp_path: Path) -> None:
    samples = told(tmp_path, FACTS)
    assert samples["vpn_look_timestamp_seconds"] == "1795621384"
    assert samples["vpn_pass_timestamp_seconds"] == "1795621378"
    assert samples["vpn_config_applied_timestamp_seconds"] == "1795621372"
    assert (samples["vpn_config_applied"], samples["vpn_keys_wait"]) == ("0", "1")
    assert samples['vpn_config_info{wanted="e4c9add7ea3e",applied="a1b2c3d4e5f6"}'] == "1"
    assert (samples["vpn_kernel"], samples["vpn_denied_packets_total"]) == ("0", "5")


def test_members_are_told_and_a_gate_in_wrong_hands_tells_nothing_else(tmp_path: Path) -> None:
    samples = told(tmp_path, FACTS)
    assert [name for name in samples if name.startswith("vpn_member{")] == [
        'vpn_member{token="1",address="10.65.0.1"}',
        'vpn_member{token="2",address="10.65.0.2"}',
    ]
    assert (samples["vpn_members"], samples["vpn_member_lease_valid"]) == ("2", "1")
    assert samples["vpn_member_lease_timestamp_seconds"] == "1795621383"
    assert samples['vpn_member_last_handshake_timestamp_seconds{token="1"}'] == "1795621000"
    assert 'vpn_member_last_handshake_timestamp_seconds{token="2"}' not in samples


def test_a_node_without_peers_and_members_says_nothing_of_them(tmp_path: Path) -> None:
    samples = told(tmp_path, ALONE)
    assert not [name for name in samples if "peer" in name or "member" in name]
    assert (samples["vpn_kernel"], samples["vpn_config_applied"]) == ("1", "1")
    assert samples["vpn_keys_wait"] == "0"


def known(folder: Path) -> set[str]:
    rules = [rule for group in alerts.rules(5, has_database=True)["groups"] for rule in group["rules"]]
    return {name.split("{")[0] for name in told(folder, FACTS)} | {rule["record"] for rule in rules if "record" in rule}


def test_rules_use_nothing_that_no_node_tells(tmp_path: Path) -> None:
    text = json.dumps(alerts.rules(5, has_database=True))
    assert set(re.findall(r"vpn[_:][a-z_]+", text)) <= known(tmp_path)


def test_the_page_uses_nothing_that_no_node_tells(tmp_path: Path) -> None:
    text = (PAGE / "mesh.js").read_text()
    used = {name for name in re.findall(r"vpn[_:][a-z_]+", text) if not name.startswith("vpn:member_")}
    assert used <= known(tmp_path)
    assert {"vpn:member_admitted_timestamp_seconds", "vpn:member_revoked_timestamp_seconds"} <= known(tmp_path)


def expressions() -> list[str]:
    """All queries of the dashboard."""
    dashboard = json.loads((PAGE / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_dashboard_uses_nothing_that_no_node_tells(tmp_path: Path) -> None:
    used = set(re.findall(r"\b(?:vpn[_:][a-z_]+|up|ALERTS)\b", " ".join(expressions())))
    assert used <= known(tmp_path) | {"up", "ALERTS"}
    assert len(expressions()) >= len(used) > 10


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    dashboard = json.loads((PAGE / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels), "none lies on another"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    (variable,) = dashboard["templating"]["list"]
    sources = {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert sources == {f"${{{variable['name']}}}"}, "whatever the source is called there"


def test_the_page_comes_from_one_place_alone() -> None:
    text = "".join(path.read_text() for path in PAGE.glob("*.[hcj]*") if path.suffix != ".json")
    assert set(re.findall(r"[a-z]+://[^\"' ]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in text
