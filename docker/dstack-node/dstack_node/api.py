"""What can be asked over HTTP: evidence, by anybody; the state, by anybody; an order, by the operator."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from dstack_node.agent import Agent, AgentError
from dstack_node.connection import Connection
from dstack_node.keeper import Keeper
from dstack_node.node import Node, attest
from dstack_node.order import MOST_NUMBER
from dstack_node.refusal import RefusedError

MOST_BYTES = 1 << 20  # of a request's body
MOST_ASKING = 4  # for evidence: one is served, the others wait
RETRY_SECONDS = 5
EPOCH = re.compile(r"[0-9]{1,16}")
NONCE = re.compile(r"[0-9a-f]{64}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers for one node."""

    def __init__(self, node: Node, agent: Agent, keeper: Keeper) -> None:
        self._node = node
        self._agent = agent
        self._keeper = keeper
        self._lock = asyncio.Lock()
        self._asking = 0

    def application(self) -> web.Application:
        """All that there is."""
        application = web.Application(middlewares=[answer_whole_requests], client_max_size=MOST_BYTES)
        application.router.add_get("/evidence", self._evidence, allow_head=False)
        application.router.add_get("/state", self._state, allow_head=False)
        application.router.add_put("/order", self._order)
        return application

    async def _evidence(self, request: web.Request) -> web.Response:
        epoch, nonce = _question(request)
        if self._asking >= MOST_ASKING:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask for evidence; ask again")
        self._asking += 1
        try:
            async with self._lock:
                line = await attest(self._node, epoch, nonce, self._agent)
        except AgentError as error:
            raise RefusedError(HTTPStatus.BAD_GATEWAY, str(error)) from None
        finally:
            self._asking -= 1
        return web.Response(text=f"{line}\n", content_type="application/json")

    async def _state(self, _: web.Request) -> web.Response:
        return _json({"serial": self._keeper.serial, "missing": self._keeper.missing()})

    async def _order(self, request: web.Request) -> web.Response:
        try:
            text = (await request.read()).decode()
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request is no UTF-8") from None
        await self._keeper.accept(text)
        return await self._state(request)


@web.middleware
async def answer_whole_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Begin only when all of a request has come, and end the connection with the answer."""
    try:
        await request.read()
        if isinstance(request.protocol, Connection):
            request.protocol.completed()
        response = await handler(request)
    except RefusedError as error:
        response = _refusal(error.status, str(error))
    except web.HTTPException as error:
        response = _refusal(error.status, error.reason)
    response.force_close()
    return response


def _question(request: web.Request) -> tuple[int, bytes]:
    """Epoch and nonce that are asked for. Raises RefusedError."""
    if sorted(name for name, _ in request.query.items()) != ["epoch", "nonce"]:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "ask with epoch and nonce, once each")
    epoch, nonce = request.query["epoch"], request.query["nonce"]
    if not EPOCH.fullmatch(epoch) or int(epoch) >= MOST_NUMBER:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "epoch: use a whole number below 2^53")
    if not NONCE.fullmatch(nonce):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "nonce: use 64 lower-case hexadecimal digits")
    return int(epoch), bytes.fromhex(nonce)


def _json(value: object) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.Response(text=f"{text}\n", content_type="application/json")


def _refusal(status: int, reason: str) -> web.Response:
    response = _json({"error": reason})
    response.set_status(status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
