"""Prometheus and Alertmanager take what is written for them, and alerts do what they shall: their own tools say so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ContainerError

from tests.integration.alert_cases import document
from tests.integration.hosts import Hosts
from tests.model.stack_files import PROJECT
from vpn.model.config import parse
from vpn.model.monitoring_files import render

TAG = "it-monitoring:latest"
BASE: dict[str, Any] = {"nodes": [{"name": name} for name in "abc"], "monitoring": {"node": "a"}}
WITH_ALL: dict[str, Any] = BASE | {
    "postgres": {"nodes": ["a", "b", "c"]},
    "monitoring": {"node": "a", "alertmanager": {"webhook": "https://hooks.example.org/alerts"}},
}

# A node that says what it shall and something else, and three that say too much: at all, of one thing, of many things.
ANSWERS = r"""
mkdir /tmp/1 /tmp/2 /tmp/3 /tmp/4
printf 'vpn_kernel 1\nother 1\n' >/tmp/1/metrics.txt
seq -f 'vpn_one{number="%.0f"} 1' 100000 >/tmp/2/metrics.txt
printf 'vpn_one{text="%0300d"} 1\n' 0 >/tmp/3/metrics.txt
seq -f 'vpn_one{number="%.0f"} 1' 200 >/tmp/4/metrics.txt
for one in 1 2 3 4; do busybox httpd -p 127.0.0.$one:9586 -h /tmp/$one; done
prometheus --config.file=prometheus.yml --storage.tsdb.path=/tmp/data --log.level=error >/dev/null 2>&1 &
ask() { busybox wget -q -O - "http://127.0.0.1:9090/api/v1/query?query=$1" 2>/dev/null || true; }
until ask 'count(up)' | grep -qF ',"4"]'; do sleep 0.1; done
ask '{job="nodes",__name__!~"(scrape_|ALERTS).*"}'
echo # what has no end may be lost
"""


@pytest.fixture(scope="module")
def image(hosts: Hosts) -> Iterator[str]:
    hosts.client.images.build(path=str(PROJECT / "docker/monitoring"), tag=TAG, rm=True)
    yield TAG
    hosts.client.images.remove(TAG, force=True)


def said(hosts: Hosts, image: str, folder: Path, command: str) -> str:
    """What a command says of the files in a folder; raises ContainerError when it fails."""
    volumes = {str(folder): {"bind": "/files", "mode": "ro"}}
    shell = ["sh", "-euc", f"cd /files; {command}"]
    more = {"volumes": volumes, "network_mode": "none", "remove": True, "stderr": True}
    text: bytes = hosts.client.containers.run(image, shell, **more)
    return text.decode()


def written(folder: Path, config: dict[str, Any]) -> Path:
    """The files of a configuration."""
    topology = parse(config)
    assert topology.monitoring
    for name, text in render(topology, topology.monitoring).items():
        (folder / name).write_text(text)
    return folder


def test_they_take_their_files(hosts: Hosts, image: str, tmp_path: Path) -> None:
    for number, config in enumerate((BASE, WITH_ALL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        check = "promtool check config --lint=all prometheus.yml; promtool check rules --lint=all rules.yml"
        text = said(hosts, image, written(folder, config), check)
        assert text.count("SUCCESS") >= 2, text
    assert "SUCCESS" in said(hosts, image, tmp_path / "1", "amtool check-config alertmanager.yml")


def test_alerts_do_what_they_shall(hosts: Hosts, image: str, tmp_path: Path) -> None:
    written(tmp_path, WITH_ALL)
    (tmp_path / "cases.json").write_text(json.dumps(document("rules.yml")))
    assert "SUCCESS" in said(hosts, image, tmp_path, "promtool test rules cases.json")


def test_a_rule_that_does_otherwise_is_found(hosts: Hosts, image: str, tmp_path: Path) -> None:
    """The cases can fail."""
    written(tmp_path, WITH_ALL)
    rules = (tmp_path / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(rules.replace("> 180", "> 1800"))
    (tmp_path / "cases.json").write_text(json.dumps(document("rules.yml")))
    with pytest.raises(ContainerError):
        said(hosts, image, tmp_path, "promtool test rules cases.json")


def test_a_node_in_wrong_hands_fills_no_prometheus(hosts: Hosts, image: str, tmp_path: Path) -> None:
    config = BASE | {"nodes": [{"name": name} for name in "abcd"], "monitoring": {"node": "a", "scrapeInterval": 1}}
    there = written(tmp_path, config) / "prometheus.yml"
    there.write_text(there.read_text().replace("10.0.0.", "127.0.0."))
    found = json.loads(said(hosts, image, tmp_path, ANSWERS))["data"]["result"]
    told = {(one["metric"]["node"], one["metric"]["__name__"]): one["value"][1] for one in found}
    assert told == {("a", "vpn_kernel"): "1", ("a", "up"): "1", **{(node, "up"): "0" for node in "bcd"}}
