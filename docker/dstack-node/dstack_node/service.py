"""Serves, and keeps the folders, until stopped."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web

from dstack_node.agent import Agent
from dstack_node.api import Api
from dstack_node.connection import REQUEST_SECONDS, Door
from dstack_node.keeper import Keeper
from dstack_node.log import say
from dstack_node.node import Node

TICK = 1.0  # seconds
TICKS = 5  # from one pass to the next, when nothing is wrong
AT_ONCE = 16  # connections that are accepted before those that are there are heard again
GRACE = 0.1  # seconds for handlers whose connection is gone

Report = Callable[[Keeper], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the program is told."""

    node: Node
    signer: bytes
    """Ed25519 public key of the operator (RFC 8032)."""
    listen: tuple[IPv4Address, int]
    socket: Path
    """The guest agent's."""
    config: Path
    """Has a folder for the node, and one for the relay."""
    state: Path


async def serve(settings: Settings, report: Report) -> None:
    """Run until stopped. `report` is called every second. Raises OSError when it cannot listen."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    agent = Agent(settings.socket)
    keeper = Keeper(settings.node, settings.signer, agent, settings.config, settings.state)
    async with listening(Api(settings.node, agent, keeper), settings.listen):
        keeping = asyncio.create_task(keep(keeper, report))
        waiting = asyncio.create_task(stopped.wait())
        done, rest = await asyncio.wait((keeping, waiting), return_when=asyncio.FIRST_COMPLETED)
        for task in (*done, *rest):
            task.cancel()
        for task in done:
            task.result()


async def keep(keeper: Keeper, report: Report) -> None:
    """Pass after pass; sooner again when something is wrong."""
    said: list[str] = []
    ticks = 0
    while True:
        if ticks == 0 or keeper.complaint:
            await keeper.turn()
        missing = keeper.missing()
        if missing != said:
            say(f"waiting for: {', '.join(missing)}" if missing else f"order {keeper.serial} is applied")
        said = missing
        report(keeper)
        ticks = (ticks + 1) % TICKS
        await asyncio.sleep(TICK)


@asynccontextmanager
async def listening(
    api: Api, address: tuple[IPv4Address, int], patience: float = REQUEST_SECONDS
) -> AsyncIterator[tuple[str, int]]:
    """Answer at an address; gives the real one, if the port was 0. Raises OSError.

    `patience`: seconds until a request has to be there.
    """
    runner = web.AppRunner(api.application(), handler_cancellation=True, shutdown_timeout=GRACE)
    await runner.setup()
    assert runner.server  # noqa: S101 (there is one after the setup)
    door = Door(runner.server, patience)
    host, port = address
    server = await asyncio.get_running_loop().create_server(door, str(host), port, reuse_address=True, backlog=AT_ONCE)
    try:
        bound: tuple[str, int] = server.sockets[0].getsockname()
        say("listens on {}:{}".format(*bound))
        yield bound
    finally:
        server.close()
        door.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 1)
