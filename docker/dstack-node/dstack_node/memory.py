"""The last order that was accepted: kept over restarts, as it was signed, so without the private key."""

from pathlib import Path

from dstack_node.files import read, replace, settle
from dstack_node.log import say
from dstack_node.order import Order
from dstack_node.order import read as read_order
from dstack_node.refusal import RefusedError

FILE = "order.json"


class Memory:
    """A file in a folder. Order and serial are one, so an old order never comes with a new serial."""

    def __init__(self, folder: Path, signer: bytes) -> None:
        self._folder = folder
        self._signer = signer

    def keep(self, request: str) -> None:
        """Remember a signed order in place of the one before. Raises OSError."""
        replace(self._folder / FILE, request.encode())
        settle(self._folder)

    def order(self) -> Order | None:
        """The order; None if there is none, or none of this operator."""
        kept = read(self._folder / FILE)
        if kept is None:
            return None
        try:
            return read_order(kept.decode(), self._signer)
        except (RefusedError, ValueError) as error:
            say(f"the order that was kept is none: {error}")
            return None
