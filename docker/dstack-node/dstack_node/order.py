"""What the operator wants of a node: files, signed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from dstack_node.refusal import RefusedError
from dstack_node.untrusted import read_json

PURPOSE = b"dstack-vpn order 1\0"
FIELDS = {"network": str, "node": str, "epoch": int, "serial": int, "moment": int, "files": dict}
NUMBERS = ("epoch", "serial", "moment")
MOST_NUMBER = 1 << 53  # that every reader of JSON takes for what it is (RFC 8259, 6)
SIGNATURE = re.compile(r"[0-9a-f]{128}")
NODE, RELAY = "node", "relay"
NODE_CONFIG, RELAY_CONFIG = "wg0.conf", "settings.json"
FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
EXCHANGED = frozenset({"asked", "applied", "switch-at", "report", "tell"})
INTERFACE = "[Interface]"


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order that was signed by the operator, and is of the right form."""

    network: str
    node: str
    epoch: int
    """Generation of the node's key."""
    serial: int
    """Greater than that of every order before."""
    moment: int
    """When all nodes go over to new keys, in milliseconds since 1970; 0: some time after the delivery."""
    files: Mapping[str, Mapping[str, str]] = field(repr=False)
    """Text by the name of a file, by the folder: node, relay."""


def read(request: str, signer: bytes) -> Order:
    """The order in a request, `{"order": text, "signature": hexadecimal}`. Raises RefusedError."""
    text, signature = _signed(request)
    try:
        VerifyKey(signer).verify(PURPOSE + text, signature)
    except BadSignatureError:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the order is not signed by this node's operator") from None
    try:
        return _order(read_json(text.decode()))
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the order is malformed: {error!s:.300}") from None


def with_key(config: str, private_key: str) -> str:
    """A WireGuard configuration with the node's private key in it."""
    lines = config.split("\n")
    lines.insert(lines.index(INTERFACE) + 1, f"PrivateKey = {private_key}")
    return "\n".join(lines)


def _signed(request: str) -> tuple[bytes, bytes]:
    try:
        raw = _fields(read_json(request), {"order": str, "signature": str})
        if not SIGNATURE.fullmatch(raw["signature"]):
            raise ValueError("the signature is not 128 lower-case hexadecimal digits")  # noqa: TRY301 (one answer to all)
        return raw["order"].encode(), bytes.fromhex(raw["signature"])
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the request is malformed: {error!s:.300}") from None


def _order(value: object) -> Order:
    raw = _fields(value, FIELDS)
    if wrong := [name for name in NUMBERS if not 0 <= raw[name] < MOST_NUMBER]:
        raise ValueError(f"these numbers are out of range: {', '.join(wrong)}")
    folders = raw["files"]
    if not {NODE} <= set(folders) <= {NODE, RELAY}:
        raise ValueError(f"files are for {NODE} and, if there is one, {RELAY}")
    for folder, files in folders.items():
        _check_files(folder, files)
    _check_wireguard(folders[NODE].get(NODE_CONFIG, ""))
    if RELAY in folders and set(folders[RELAY]) != {RELAY_CONFIG}:
        raise ValueError(f"{RELAY} has just one file, {RELAY_CONFIG}")
    return Order(**raw)


def _fields(value: object, fields: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 (a ValueError is what the caller catches)
    if wrong := sorted(value.keys() ^ fields.keys()):
        raise ValueError(f"these fields are missing, or not known: {', '.join(wrong)!a}")
    if wrong := [name for name, kind in fields.items() if type(value[name]) is not kind]:
        raise ValueError(f"these fields are of the wrong type: {', '.join(wrong)}")
    return value


def _check_files(folder: str, files: object) -> None:
    if not isinstance(files, dict):
        raise ValueError(f"the files of {folder} are no object")  # noqa: TRY004 (a ValueError is what the caller catches)
    for name, text in files.items():
        if not FILE_NAME.fullmatch(name) or name in EXCHANGED:
            raise ValueError(f"{folder} cannot have a file {name!a:.120}")
        if not isinstance(text, str):
            raise ValueError(f"{folder}/{name} is no text")  # noqa: TRY004 (a ValueError is what the caller catches)
        text.encode()  # half of a surrogate pair is no text either, and raises a ValueError


def _check_wireguard(config: str) -> None:
    lines = config.split("\n")
    if lines.count(INTERFACE) != 1:
        raise ValueError(f"{NODE}/{NODE_CONFIG} needs just one line {INTERFACE}")
    # As wg(8) reads it: without white space, in any case.
    if any("".join(line.split()).lower().startswith("privatekey") for line in lines):
        raise ValueError(f"{NODE}/{NODE_CONFIG} has a PrivateKey, which is the guest's to add")
