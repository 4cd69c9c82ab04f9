"""Keeps the folders of the node and of its relay as the last order says.

Level-triggered: every pass compares them with the order, and one that finds them as they should be changes nothing.
"""

import asyncio
from http import HTTPStatus
from pathlib import Path

from dstack_node.agent import Agent, AgentError
from dstack_node.exchange import CHECKSUMS, Folder, with_checksums
from dstack_node.log import say
from dstack_node.memory import Memory
from dstack_node.node import Node, key
from dstack_node.order import NODE, NODE_CONFIG, Order, read, with_key
from dstack_node.refusal import RefusedError


class Keeper:
    """What there is of it in memory can be lost."""

    def __init__(self, node: Node, signer: bytes, agent: Agent, config: Path, state: Path) -> None:
        self._node = node
        self._signer = signer
        self._agent = agent
        self._config = config
        self._memory = Memory(state, signer)
        self._lock = asyncio.Lock()
        self._order = self._remembered()
        self._unconfirmed: set[str] = set()
        self._sums: dict[str, bytes] = {}
        self.complaint = ""
        """Why the folders are not as they should be; empty if they are."""

    @property
    def serial(self) -> int:
        """Of the last order that was accepted; 0 if there was none."""
        return self._order.serial if self._order else 0

    def missing(self) -> list[str]:
        """Folders whose reader has not applied what the order says."""
        return [folder for folder in sorted(self._order.files if self._order else ()) if not self._is_applied(folder)]

    async def accept(self, request: str) -> None:
        """Take an order, and carry it out as far as that goes now. Raises RefusedError."""
        order = read(request, self._signer)
        self._check_node(order)
        async with self._lock:
            self._take(order, request)
        await self.turn()

    async def turn(self) -> None:
        """Make the folders what the order says, as far as that goes now; what is wrong is told once."""
        complaint = ""
        try:
            async with self._lock:
                if self._order:
                    await self._carry_out(self._order)
        except (AgentError, OSError) as error:
            complaint = str(error)
        if complaint != self.complaint:
            say(f"failed: {complaint}" if complaint else f"recovered from: {self.complaint}")
        self.complaint = complaint

    # --- orders

    def _remembered(self) -> Order | None:
        order = self._memory.order()
        if order and not self._is_mine(order):
            say(f"the order that was kept is for node {order.node} of network {order.network}")
            return None
        return order

    def _check_node(self, order: Order) -> None:
        if not self._is_mine(order):
            wanted = f"node {self._node.node} of network {self._node.network}"
            raise RefusedError(HTTPStatus.FORBIDDEN, f"the order is for another node than {wanted}")

    def _is_mine(self, order: Order) -> bool:
        return (order.network, order.node) == (self._node.network, self._node.node)

    def _take(self, order: Order, request: str) -> None:
        if order.serial <= self.serial:
            raise RefusedError(
                HTTPStatus.CONFLICT, f"serial {order.serial} is not greater than the last, {self.serial}"
            )
        try:
            self._memory.keep(request)
        except OSError as error:
            reason = f"the order cannot be kept: {error.strerror}"
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, reason) from None
        self._order, self._sums = order, {}
        self._unconfirmed = set(order.files)
        say(f"order {order.serial}: epoch {order.epoch}, for {', '.join(sorted(order.files))}")

    # --- folders

    async def _carry_out(self, order: Order) -> None:
        private = await key(self._node, order.epoch, self._agent)
        for folder, files in sorted(order.files.items()):
            wanted = dict(files)
            if folder == NODE:
                wanted[NODE_CONFIG] = with_key(wanted[NODE_CONFIG], private)
            self._keep(folder, with_checksums(wanted), order.moment)

    def _keep(self, name: str, contents: dict[str, bytes], moment: int) -> None:
        folder = Folder(self._config / name)
        if not folder.holds(contents):
            folder.deliver(contents, moment)
            say(f"delivered to: {name}")
        elif name in self._unconfirmed:
            folder.confirm(moment)
        self._unconfirmed.discard(name)
        self._sums[name] = contents[CHECKSUMS]

    def _is_applied(self, name: str) -> bool:
        sums = self._sums.get(name)
        return sums is not None and Folder(self._config / name).has_applied(sums)
