"""A mesh that runs, written down for docker-compose.

Made from what the engine says about the containers, so that both sides of the comparison have the same rights, limits,
networks, volumes and health checks, whatever the stack will give its containers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.engine import docker, inspect

UPLOAD = "/bundle.tar.gz"
"""The file that the carrier alone gets."""
MICROSECOND = 1000  # nanoseconds


def document(names: Sequence[str], carrier: str, image: str, folder: Path) -> dict[str, Any]:
    """The project with these containers, with the carrier's file put into the folder."""
    found = {name: inspect("container", name) for name in names}
    services = {name: _service(one, image) for name, one in found.items()}
    docker("cp", f"{carrier}:{UPLOAD}", str(folder))
    services[carrier]["volumes"].append(f"{folder / Path(UPLOAD).name}:{UPLOAD}:ro")
    networks = {name for one in services.values() for name in one.get("networks", ())}
    volumes = {mount["Name"] for one in found.values() for mount in _mounts(one)}
    return {
        "services": services,
        "networks": {name: _network(name) for name in sorted(networks)},
        "volumes": {name: {"name": name} for name in sorted(volumes)},
    }


def differences(wanted: dict[str, Any], name: str, image: str) -> str:
    """How a running container differs from a service of the document; empty when it does not."""
    found = json.loads(json.dumps(_service(inspect("container", name), image)))
    keys = [key for key in wanted if key != "volumes" and _unordered(found.get(key)) != _unordered(wanted[key])]
    return "; ".join(f"{key} is {found.get(key)}, not {wanted[key]}" for key in keys)


def _unordered(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _service(found: dict[str, Any], image: str) -> dict[str, Any]:
    config = found["Config"]
    service = {
        "container_name": found["Name"].lstrip("/"),
        "image": image,
        "command": config["Cmd"],
        "volumes": [f"{mount['Name']}:{mount['Destination']}" for mount in _mounts(found)],
        **_rights(found["HostConfig"]),
        **_limits(found["HostConfig"]),
        **_place(found),
    }
    if config.get("Healthcheck"):
        service["healthcheck"] = _health(config["Healthcheck"])
    return service


def _mounts(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [mount for mount in found["Mounts"] if mount["Type"] == "volume"]


def _rights(host: dict[str, Any]) -> dict[str, Any]:
    devices = host.get("Devices") or []
    return {
        "cap_add": host["CapAdd"] or [],
        "cap_drop": host["CapDrop"] or [],
        "devices": [f"{one['PathOnHost']}:{one['PathInContainer']}:{one['CgroupPermissions']}" for one in devices],
        "read_only": host["ReadonlyRootfs"],
        "security_opt": host["SecurityOpt"] or [],
        "sysctls": host.get("Sysctls") or {},
    }


def _limits(host: dict[str, Any]) -> dict[str, Any]:
    return {
        "mem_limit": host["Memory"],
        "memswap_limit": host["MemorySwap"],
        "tmpfs": [f"{path}:{options}" for path, options in (host.get("Tmpfs") or {}).items()],
        "restart": host["RestartPolicy"]["Name"],
        "logging": {"driver": host["LogConfig"]["Type"], "options": host["LogConfig"]["Config"]},
    }


def _place(found: dict[str, Any]) -> dict[str, Any]:
    """Where it is: its networks and published ports."""
    if found["HostConfig"]["NetworkMode"] == "none":
        return {"network_mode": "none"}
    networks = found["NetworkSettings"]["Networks"]
    published = found["HostConfig"]["PortBindings"] or {}
    return {
        "hostname": found["Config"]["Hostname"],
        "networks": {name: {"ipv4_address": one["IPAMConfig"]["IPv4Address"]} for name, one in networks.items()},
        "ports": [f"{one['HostIp']}:{one['HostPort']}:{port}" for port, ends in published.items() for one in ends],
    }


def _health(check: dict[str, Any]) -> dict[str, Any]:
    times = {key.lower(): f"{check[key] // MICROSECOND}us" for key in ("Interval", "Timeout")}
    return {"test": check["Test"], "retries": check["Retries"], **times}


def _network(name: str) -> dict[str, Any]:
    found = inspect("network", name)
    ranges = [{"subnet": one["Subnet"], "gateway": one["Gateway"]} for one in found["IPAM"]["Config"]]
    return {"name": name, "driver": found["Driver"], "driver_opts": found["Options"], "ipam": {"config": ranges}}
