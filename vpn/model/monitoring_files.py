"""What the container of the monitoring reads: name -> text. JSON is YAML, and has one way to write a thing."""

import json
from collections.abc import Mapping
from typing import Any

from vpn.model import alerts
from vpn.model.monitoring import METRICS_PORT, PORT, Monitoring
from vpn.model.postgres import METRICS_PORTS, Place
from vpn.model.topology import Node, Topology

SCRAPE_TIMEOUT = 2  # seconds; who takes longer for a small file is as good as away
ALERTMANAGER = "127.0.0.1:9093"
REPEAT = "4h"


def render(topology: Topology, monitoring: Monitoring) -> dict[str, str]:
    """The config folder; Alertmanager's own file is there when there is one."""
    files = {
        "arguments": "".join(f"{one}\n" for one in _arguments(topology, monitoring)),
        "prometheus.yml": _json(_prometheus(topology, monitoring)),
        "rules.yml": _json(alerts.rules(monitoring.interval, has_database=topology.postgres is not None)),
    }
    return files | ({"alertmanager.yml": _json(_alertmanager(monitoring.webhook))} if monitoring.webhook else {})


def url(topology: Topology, monitoring: Monitoring) -> str:
    """Where Prometheus is in the mesh."""
    return f"http://{monitoring.name}.{topology.domain}:{PORT}/"


def _arguments(topology: Topology, monitoring: Monitoring) -> tuple[str, ...]:
    """What Prometheus takes only when it starts (prometheus(1))."""
    return f"--storage.tsdb.retention.time={monitoring.retention}d", f"--web.external-url={url(topology, monitoring)}"


def _prometheus(topology: Topology, monitoring: Monitoring) -> dict[str, Any]:
    """Prometheus 2.53, Configuration."""
    interval = f"{monitoring.interval}s"
    config = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": f"{min(SCRAPE_TIMEOUT, monitoring.interval)}s",
            "evaluation_interval": interval,
        },
        "rule_files": ["rules.yml"],
        "scrape_configs": [_nodes(topology), *_databases(topology)],
    }
    if monitoring.webhook:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [ALERTMANAGER]}]}]}
    return config


def _nodes(topology: Topology) -> dict[str, Any]:
    targets = [_target(f"{node.address}:{METRICS_PORT}", node.name, node) for node in topology.inside]
    return {"job_name": "nodes", "metrics_path": "/metrics.txt", "static_configs": targets}


def _databases(topology: Topology) -> list[dict[str, Any]]:
    """A job for each kind of container of a PostgreSQL cluster."""
    places = topology.postgres.places if topology.postgres else ()
    return [
        {"job_name": kind, "static_configs": [_place(topology, one) for one in places if one.kind == kind]}
        for kind in (METRICS_PORTS if places else ())
    ]


def _place(topology: Topology, place: Place) -> dict[str, Any]:
    return _target(f"{place.address}:{METRICS_PORTS[place.kind]}", place.name, topology.node(place.node))


def _target(at: str, name: str, node: Node) -> dict[str, Any]:
    """With names in place of addresses."""
    labels = {"instance": name, "node": node.name, "host": node.host.name, "region": node.host.region}
    return {"targets": [at], "labels": {key: value for key, value in labels.items() if value}}


def _alertmanager(webhook: str) -> dict[str, Any]:
    """One message a kind of alert, again after some hours (Alertmanager 0.28, Configuration)."""
    route = {
        "receiver": "webhook",
        "group_by": ["alertname"],
        "group_wait": "5s",
        "group_interval": "1m",
        "repeat_interval": REPEAT,
    }
    receiver = {"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
    return {"route": route, "receivers": [receiver]}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
