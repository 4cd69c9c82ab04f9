"""All links of a process, as the settings want them."""

from collections.abc import Collection

from udp_over_tcp.echo import EchoPort
from udp_over_tcp.incoming import IncomingLink
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.outgoing import OutgoingLink
from udp_over_tcp.settings import Echo, Link, Outgoing


class Relay:
    """Has just the links that are wanted; those that stay are not touched."""

    def __init__(self) -> None:
        self._links: dict[Link, OutgoingLink | IncomingLink | EchoPort] = {}
        self._intake = Intake()

    async def have(self, wanted: Collection[Link]) -> str:
        """Open and close what differs; what could not be opened, and why, for another try."""
        for gone in set(self._links) - set(wanted):
            say(f"{self._links[gone].name}: closed")
            await self._links.pop(gone).close()
        failures = []
        for new in set(wanted) - set(self._links):
            try:
                self._links[new] = self._opened(new)
            except OSError as error:
                failures.append(f"{':'.join(map(str, new.listen))}: {error.strerror}")
        return "; ".join(sorted(failures))

    def _opened(self, link: Link) -> OutgoingLink | IncomingLink | EchoPort:
        if isinstance(link, Outgoing):
            return OutgoingLink(link, self._intake)
        if isinstance(link, Echo):
            return EchoPort(link, self._intake)
        return IncomingLink(link, self._intake, self._link_to)

    def _link_to(self, address: str) -> OutgoingLink | None:
        outgoing = (link for link in self._links.values() if isinstance(link, OutgoingLink))
        return next((link for link in outgoing if link.leads_to(address)), None)

    def states(self) -> dict[str, str]:
        """What every link does, by its name."""
        return {link.name: link.state for link in self._links.values()}

    async def close(self) -> None:
        """Give up everything."""
        await self.have(())
