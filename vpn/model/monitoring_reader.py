"""Reads `monitoring` of a configuration, and notes what is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vpn.model.hosts import Host
from vpn.model.monitoring import MONITORING, SLOWEST, Monitoring
from vpn.model.reader import NOT_SHOWN, Reader, is_http

MONITORING_KEYS = ("node", "retention", "retentionSize", "scrapeInterval", "alertmanager")
MONITORING_DEFAULTS: Mapping[str, Any] = {"retention": 15, "retentionSize": 10, "scrapeInterval": 5}
ALERTMANAGER_KEYS = ("webhook",)
LONGEST = 3650  # days
LARGEST = 10_000  # GB


@dataclass(frozen=True)
class MonitoringReader:
    """Reads what Prometheus is to be; where its site is comes later, from the topology."""

    reader: Reader
    nodes: Sequence[str]
    """Those where it can be: of the mesh, and at last only those on Docker engines."""

    @classmethod
    def of(cls, reader: Reader, nodes: Sequence[str]) -> "MonitoringReader | None":
        """None when there is to be none."""
        if reader.raw.get("monitoring") in (None, {}):
            return None
        return cls(reader.within("monitoring", MONITORING_KEYS, MONITORING_DEFAULTS), nodes)

    def on_engines(self, hosts: Mapping[str, Host]) -> "MonitoringReader":
        """For nodes on Docker engines alone: into a confidential VM nothing is carried. `hosts` by the node's name."""
        return replace(self, nodes=[name for name in self.nodes if not hosts[name].guest])

    def monitoring(self) -> Monitoring:
        """What it is to be; not one to use when something wrong was noted."""
        reader, node = self.reader, self.reader.raw.get("node")
        if node not in self.nodes:
            reader.wrong("node", node, "is not a node on a Docker engine", f"one of {', '.join(self.nodes)}")
        return Monitoring(
            node=str(node),
            retention=reader.number("retention", 1, LONGEST),
            size=reader.number("retentionSize", 1, LARGEST),
            interval=reader.number("scrapeInterval", 1, SLOWEST),
            webhook=self._webhook(),
        )

    def places(self) -> dict[str, str]:
        """The node of everything at whose ports there can be a service."""
        return {MONITORING: str(self.reader.raw.get("node"))}

    def own_names(self) -> dict[str, str]:
        """Names that nobody else in the mesh can have, and what has them."""
        return {MONITORING: "the monitoring"}

    def _webhook(self) -> str | None:
        """A URL may hold a key, so it is not shown."""
        if self.reader.raw.get("alertmanager") in (None, {}):
            return None
        reader = self.reader.within("alertmanager", ALERTMANAGER_KEYS, {})
        url = reader.raw.get("webhook")
        if not is_http(url):
            fix = "write it like https://host/path; a key belongs into the path, the whole into a secret: "
            fix += "pulumi config set --secret --path monitoring.alertmanager.webhook"
            reader.wrong("webhook", None if url is None else NOT_SHOWN, "is not an http or https URL", fix)
        return str(url)
