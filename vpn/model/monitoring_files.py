"""What the container of the monitoring reads: name -> text. JSON is YAML, and has one way to write a thing."""

import json
from collections.abc import Mapping
from typing import Any

from vpn.model import alerts
from vpn.model.monitoring import METRICS_PORT, PORT, Monitoring
from vpn.model.postgres import METRICS_PORTS, POSTGRES, Place
from vpn.model.topology import Node, Topology

SCRAPE_TIMEOUT = 2  # seconds; who takes longer for a small file is as good as away
# What a node in wrong hands could say without end. An answer beyond a limit is none, and the node is told to be down.
OF_NODE, OF_PEER, OF_MEMBER = 100, 10, 3  # samples, rounded up
OF_DATABASE = 20_000  # samples; a member of a cluster tells some hundreds
SAMPLE_SIZE = 300  # bytes, with its name and its part of what is said of the name
LABEL_LIMITS = {"label_limit": 30, "label_name_length_limit": 100, "label_value_length_limit": 200}
TOLD_BY = {POSTGRES: "patroni"}  # whose metrics begin otherwise than with what the container is
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
    return (
        f"--storage.tsdb.retention.time={monitoring.retention}d",
        f"--storage.tsdb.retention.size={monitoring.size}GB",
        f"--web.external-url={url(topology, monitoring)}",
    )


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
    members = topology.access.member_range.num_addresses if topology.access else 0
    most = OF_NODE + OF_PEER * len(topology.nodes) + OF_MEMBER * members
    return {"job_name": "nodes", "metrics_path": "/metrics.txt", **_limits(most, "vpn"), "static_configs": targets}


def _limits(samples: int, prefix: str) -> dict[str, Any]:
    """How much one answer may say, and of what."""
    allowed = {"source_labels": ["__name__"], "regex": f"{prefix}_.+", "action": "keep"}
    limits = {"body_size_limit": f"{samples * SAMPLE_SIZE}B", "sample_limit": samples, **LABEL_LIMITS}
    return {**limits, "metric_relabel_configs": [allowed]}


def _databases(topology: Topology) -> list[dict[str, Any]]:
    """A job for each kind of container of a PostgreSQL cluster."""
    places = topology.postgres.places if topology.postgres else ()
    return [
        {
            "job_name": kind,
            **_limits(OF_DATABASE, TOLD_BY.get(kind, kind)),
            "static_configs": [_place(topology, one) for one in places if one.kind == kind],
        }
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
