"""The answers of the guest agent, as documented for its API without a version, which is the same as /v0."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from dstack_simulator import events
from dstack_simulator.certificates import Authority, pem
from dstack_simulator.keys import derive, p256, spki
from dstack_simulator.quote import SEPT_VE_DISABLE, Measurements, quote

MRTD = bytes([0x11]) * 48
IMAGE = bytes([0x05]) * 32
AGENT_VERSION = "0.5.9"
REPORT_DATA = 64  # bytes
APP_ID = 20  # bytes
ALGORITHMS = ("", "secp256k1", "k256", "ed25519")

Arguments = Mapping[str, Any]


class RefusedError(Exception):
    """The agent answers with an error."""


class Guest:
    """One guest that runs an application, on a platform of this authority."""

    def __init__(self, authority: Authority, app_compose: bytes, app_id: bytes, instance: str) -> None:
        self._authority = authority
        self._app_compose = app_compose.decode()
        self._compose = _checked(json.loads(app_compose))
        self._app_id = app_id
        self.compose_hash = sha256(app_compose).digest()
        named = sha256(instance.encode() + app_id).digest()[:20]
        self._instance_id = b"" if self._compose.get("no_instance_id") else named
        self._app_key = derive(authority.seed, app_id + b"app-key")  # of the application: all of its versions share it
        self.provider_id = spki(p256(authority.seed, "kms"))
        self.log = events.boot(app_id, self.compose_hash, self._instance_id, self.provider_id, IMAGE)
        self.attributes = SEPT_VE_DISABLE

    def methods(self) -> Mapping[str, Callable[[Arguments], dict[str, Any]]]:
        """What the agent can be asked."""
        return {"GetKey": self._get_key, "GetQuote": self._get_quote, "Info": self._info, "Version": self._version}

    def _get_key(self, arguments: Arguments) -> dict[str, Any]:
        """32 bytes of a path; purpose and algorithm change none of them (DStack, rpc_service.rs)."""
        path, algorithm = _text(arguments, "path"), _text(arguments, "algorithm")
        if algorithm not in ALGORITHMS:
            raise RefusedError(f"Unsupported algorithm: {algorithm}")
        # Nobody here signs with a KMS's key on secp256k1, and a chain that is none would only look like one.
        return {"key": derive(self._app_key, path.encode()).hex(), "signature_chain": []}

    def _get_quote(self, arguments: Arguments) -> dict[str, Any]:
        try:
            report_data = bytes.fromhex(_text(arguments, "report_data"))
        except ValueError:
            raise RefusedError("Invalid report data: not hexadecimal") from None
        if len(report_data) > REPORT_DATA:
            raise RefusedError("Report data is too long")
        report_data = report_data.ljust(REPORT_DATA, b"\0")
        return {
            "quote": quote(self._authority, self._measurements(), report_data).hex(),
            "event_log": json.dumps(self.log),
            "report_data": report_data.hex(),
            "vm_config": _vm_config(),
        }

    def _info(self, _: Arguments) -> dict[str, Any]:
        shared = self._shared()
        provider = {"name": "kms", "id": self.provider_id.hex()}
        return {
            **shared,
            "app_id": self._app_id.hex(),
            "instance_id": self._instance_id.hex(),
            "app_cert": pem(self._authority.root),
            "tcb_info": json.dumps(shared | self._registers() | {"app_compose": self._app_compose}),
            "app_name": self._compose["name"],
            "key_provider_info": json.dumps(provider, separators=(",", ":")),
            "vm_config": _vm_config(),
            "cloud_vendor": "",
            "cloud_product": "",
        }

    def _version(self, _: Arguments) -> dict[str, Any]:
        return {"version": AGENT_VERSION, "rev": "simulator"}

    def _measurements(self) -> Measurements:
        return Measurements(mrtd=MRTD, rtmrs=events.registers(self.log), attributes=self.attributes)

    def _shared(self) -> dict[str, Any]:
        """What stands both in the information and in its part on the TCB."""
        return {
            "compose_hash": self.compose_hash.hex(),
            "device_id": bytes(32).hex(),
            "mr_aggregated": bytes(32).hex(),
            "os_image_hash": IMAGE.hex(),
        }

    def _registers(self) -> dict[str, Any]:
        values = {f"rtmr{index}": value.hex() for index, value in enumerate(events.registers(self.log))}
        return {"mrtd": MRTD.hex(), **values, "event_log": self.log}


def _checked(compose: dict[str, Any]) -> dict[str, Any]:
    if compose["key_provider"] != "kms":
        raise ValueError(f"the simulator has no key provider {compose['key_provider']}: it takes itself for a KMS")
    return compose


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise RefusedError(f"{name} is not a string")
    return value


def _vm_config() -> str:
    return json.dumps({"os_image_hash": IMAGE.hex(), "cpu_count": 1, "memory_size": 2 << 30})
