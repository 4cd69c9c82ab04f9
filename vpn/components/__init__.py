"""The mesh as Pulumi component resources."""

from vpn.components.access_control import AccessControl, AccessControlArgs
from vpn.components.config_carrier import ConfigCarrier, ConfigCarrierArgs
from vpn.components.docker_host import DockerHost, DockerHostArgs
from vpn.components.dstack_node import DstackNode, DstackNodeArgs
from vpn.components.monitoring import Monitoring, MonitoringArgs
from vpn.components.mullvad_proxy import MullvadProxy, MullvadProxyArgs
from vpn.components.postgres_cluster import PostgresCluster, PostgresClusterArgs
from vpn.components.vpn_mesh import VpnMesh, VpnMeshArgs
from vpn.components.wireguard_node import WireGuardNode, WireGuardNodeArgs
from vpn.components.workload import WorkloadContainer, WorkloadContainerArgs

__all__ = [
    "AccessControl",
    "AccessControlArgs",
    "ConfigCarrier",
    "ConfigCarrierArgs",
    "DockerHost",
    "DockerHostArgs",
    "DstackNode",
    "DstackNodeArgs",
    "Monitoring",
    "MonitoringArgs",
    "MullvadProxy",
    "MullvadProxyArgs",
    "PostgresCluster",
    "PostgresClusterArgs",
    "VpnMesh",
    "VpnMeshArgs",
    "WireGuardNode",
    "WireGuardNodeArgs",
    "WorkloadContainer",
    "WorkloadContainerArgs",
]
