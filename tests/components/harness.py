"""Runs the whole program against an engine in memory that keeps everything it is told.

Pulumi's own mocks hide the options of a resource and drop the marks of secrets and unknowns, so this engine reads the
requests themselves. Every run has a context of its own (contextvars), so nothing of one leaks into the next.
"""

import asyncio
import json
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped]
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import resource_pb2 as pb
from pulumi.runtime.rpc import UNKNOWN, _special_secret_sig, _special_sig_key
from pulumi.runtime.settings import Settings, configure
from pulumi.runtime.stack import run_in_stack

from tests.model.example import SEED
from tests.model.stack_files import NAMESPACE, PROJECT
from vpn.components.delivery import Recipient

STACK_REFERENCE = "pulumi:pulumi:StackReference"
ORGANIZATION, NAME, STACK = "organization", "dstack-vpn", "dev"

Json = Any


@dataclass(frozen=True)
class Secret:
    """A value that the engine was told to encrypt."""

    value: Json


@dataclass(frozen=True)
class Unknown:
    """A value that only an `up` would tell."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The resource options that the program uses."""

    replace_on_changes: tuple[str, ...] = ()
    delete_before_replace: bool = False
    additional_secret_outputs: tuple[str, ...] = ()
    ignore_changes: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool = False
    replacement_trigger: Json = None
    before_create: tuple[str, ...] = ()
    """Names of hooks."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource as the program registered it."""

    type: str
    name: str
    parent: str
    """Name of the parent."""
    urn: str
    inputs: dict[str, Json]
    options: Options


class Engine(MockMonitor):
    """One `pulumi up`, or `pulumi preview`, of the program.

    `previous` are the stack's outputs so far.
    """

    def __init__(self, *, previous: Mapping[str, Json] | None = None, preview: bool = False) -> None:
        super().__init__(_NoMocks())
        self.preview = preview
        self.previous = previous or {}
        self.registered: list[Resource] = []
        self.hooks: list[str] = []
        """Names of the hooks that the program registered."""
        self.outputs: dict[str, dict[str, Json]] = {}
        """Outputs of every component and of the stack, by type."""
        self.awaited: list[tuple[Sequence[Recipient], int]] = []
        """Turns that the program waited for: to whom config was brought, and how many read it."""

    def up(self, config: Mapping[str, Json], program: Callable[[], None] | None = None) -> "Engine":
        """Run a program, the project's own if none is given. Raises what the program raises."""
        copy_context().run(self._up, config, program or _program)
        return self

    def _up(self, config: Mapping[str, Json], program: Callable[[], None]) -> None:
        configure(Settings(NAME, STACK, monitor=self, dry_run=self.preview, organization=ORGANIZATION))
        set_all_config({f"{NAMESPACE}{key}": as_the_cli_tells_it(value) for key, value in config.items()})
        with patch("vpn.components.vpn_mesh.until_applied", self._applied):
            asyncio.run(run_in_stack(program))

    async def _applied(self, recipients: Sequence[Recipient], readers: int) -> bool:
        self.awaited.append((recipients, readers))
        return True

    def find(self, type_: str, name: str) -> Resource:
        """The one resource of a type (its last word) and a name."""
        (found,) = [one for one in self.registered if (one.type.rsplit(":", 1)[1], one.name) == (type_, name)]
        return found

    def all(self, type_: str) -> list[Resource]:
        """All resources of a type (its last word), by name."""
        return sorted((one for one in self.registered if one.type.rsplit(":", 1)[1] == type_), key=lambda one: one.name)

    # --- the engine's side of the protocol

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        chain = f"{parent.split('::')[2]}$" if parent and "pulumi:pulumi:Stack" not in parent else ""
        return f"urn:pulumi:{STACK}::{NAME}::{chain}{type_}::{name}"

    def RegisterResource(self, request: pb.RegisterResourceRequest) -> pb.RegisterResourceResponse:  # noqa: N802
        urn = self.make_urn(request.parent, request.type, request.name)
        resource = _resource(request, urn)
        self.registered.append(resource)
        outputs = Struct()
        outputs.CopyFrom(request.object)
        known = not self.preview and request.custom
        outputs.update(_outputs(resource) if known else {})
        return pb.RegisterResourceResponse(urn=urn, id=_id(resource) if known else "", object=outputs)

    def ReadResource(self, request: pb.ReadResourceRequest) -> pb.ReadResourceResponse:  # noqa: N802
        assert (request.type, request.id) == (STACK_REFERENCE, f"{ORGANIZATION}/{NAME}/{STACK}")
        urn = self.make_urn(request.parent, request.type, request.name)
        properties = Struct()
        properties.update({"name": request.name, "outputs": dict(self.previous), "secretOutputNames": []})
        return pb.ReadResourceResponse(urn=urn, properties=properties)

    def RegisterResourceHook(self, request: pb.RegisterResourceHookRequest) -> Any:  # noqa: N802
        self.hooks.append(request.name)
        return super().RegisterResourceHook(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: pb.RegisterResourceOutputsRequest) -> Any:  # noqa: N802
        self.outputs[request.urn.split("::")[2].rsplit(":", 1)[1]] = decode(MessageToDict(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _program() -> None:
    runpy.run_path(str(PROJECT / "__main__.py"))


class _NoMocks(Mocks):
    """The engine answers for itself, nothing may reach these."""

    def call(self, args: MockCallArgs) -> Any:
        raise AssertionError(args.token)

    def new_resource(self, args: MockResourceArgs) -> Any:
        raise AssertionError(args.typ)


def as_the_cli_tells_it(value: Json) -> str:
    """Configuration reaches a program as text; all but texts as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def decode(value: Json) -> Json:
    """The engine's wire format with its marks as values of their own."""
    if value == UNKNOWN:
        return Unknown()
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if value.get(_special_sig_key) == _special_secret_sig:
            return Secret(decode(value["value"]))
        return {key: decode(item) for key, item in value.items()}
    return value


def plain(value: Json) -> Iterator[str]:
    """Every text in a value that is not part of a secret; keys of mappings, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from plain(item)
    elif isinstance(value, list):
        for item in value:
            yield from plain(item)
    elif not isinstance(value, Secret):
        yield str(value)


def secrets(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every secret in a value, with its path."""
    if isinstance(value, Secret):
        yield path, value.value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from secrets(item, f"{path}.{key}".lstrip("."))


def _resource(request: pb.RegisterResourceRequest, urn: str) -> Resource:
    trigger = MessageToDict(request.replacement_trigger) if request.HasField("replacement_trigger") else None
    options = Options(
        replace_on_changes=tuple(request.replaceOnChanges),
        delete_before_replace=request.deleteBeforeReplace,
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        ignore_changes=tuple(request.ignoreChanges),
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        replacement_trigger=decode(trigger),
        before_create=tuple(request.hooks.before_create),
    )
    return Resource(
        type=request.type,
        name=request.name,
        parent=request.parent.rsplit("::", 1)[-1],
        urn=urn,
        inputs=decode(MessageToDict(request.object)),
        options=options,
    )


def _id(resource: Resource) -> str:
    """A new one for other inputs, like the ID of a container that was replaced."""
    return sha256(repr((resource.urn, resource.inputs)).encode()).hexdigest()


def _outputs(resource: Resource) -> dict[str, Json]:
    """What a provider would tell of a new resource."""
    match resource.type.rsplit(":", 1)[1]:
        case "RandomPassword":
            return {"result": SEED}
        case "RemoteImage":
            return {"imageId": f"sha256:{resource.name}"}
    return {}
