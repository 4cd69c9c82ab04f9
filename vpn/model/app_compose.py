"""The text of app-compose.json, which tells a DStack guest what to run.

The guest measures the very bytes of this file into RTMR3 (DStack, docs/security/cvm-boundaries.md): who writes it down
in another form, or with a newline at the end, has another application.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

MANIFEST_VERSION = 2  # a number; 3 would be a text, and older guests refuse it


@dataclass(frozen=True, kw_only=True)
class AppCompose:
    """What a DStack guest runs, and what it tells about it (DStack, dstack-types, AppCompose)."""

    name: str
    docker_compose_file: str
    """The YAML text that `docker compose up` gets."""
    init_script: str = ""
    """Shell text that runs as root before Docker starts; what fails in it fails the boot. Empty: none."""
    key_provider: Literal["none", "kms", "local", "tpm"] = "kms"
    """Where the application's keys come from; with none they last no longer than the boot."""
    key_provider_id: str = ""
    """Hexadecimal; the only provider that the guest takes keys from. Empty: any of its kind."""
    gateway_enabled: bool = False
    """Whether the guest registers with DStack's gateway, which forwards TCP to it."""
    public_logs: bool = False
    public_sysinfo: bool = False
    public_tcbinfo: bool = False
    """Whether anybody can read this text from the guest, on TCP port 8090."""
    no_instance_id: bool = False
    """Whether all instances are one to the key provider."""
    allowed_envs: tuple[str, ...] = ()
    """Names of the environment variables that the guest takes from outside; their values are not measured."""
    storage_fs: Literal["zfs", "ext4"] = "ext4"
    ports: tuple[int, ...] = ()
    """TCP ports that the gateway may forward to."""
    restrict_mode: bool = True
    """Whether the gateway forwards to no others."""

    def text(self) -> str:
        """The file, to be written as UTF-8 just as it is."""
        return json.dumps(self._fields(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def compose_hash(self) -> str:
        """SHA-256 of the file in hexadecimal, as it stands in RTMR3's event `compose-hash`."""
        return sha256(self.text().encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        fields = {
            "manifest_version": MANIFEST_VERSION,
            "runner": "docker-compose",
            "secure_time": True,  # what a node signs tells when it did
            "name": self.name,
            "docker_compose_file": self.docker_compose_file,
            "allowed_envs": list(self.allowed_envs),
            "storage_fs": self.storage_fs,
        }
        script = {"init_script": self.init_script} if self.init_script else {}
        return fields | self._keys() | self._openness() | script

    def _keys(self) -> dict[str, Any]:
        return {
            "key_provider": self.key_provider,
            "key_provider_id": self.key_provider_id,
            "no_instance_id": self.no_instance_id,
        }

    def _openness(self) -> dict[str, Any]:
        ports = [{"port": port, "pp": False} for port in self.ports]  # WireGuard's relay reads no PROXY header
        return {
            "gateway_enabled": self.gateway_enabled,
            "public_logs": self.public_logs,
            "public_sysinfo": self.public_sysinfo,
            "public_tcbinfo": self.public_tcbinfo,
            "port_policy": {"ports": ports, "restrict_mode": self.restrict_mode},
        }
