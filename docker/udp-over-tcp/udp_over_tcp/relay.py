"""All links of a process, as the settings want them."""

from collections.abc import Collection

from udp_over_tcp.echo import EchoPort
from udp_over_tcp.incoming import IncomingLink
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.meeting_link import MeetingLink
from udp_over_tcp.meeting_place import MeetingPlace
from udp_over_tcp.outgoing import OutgoingLink
from udp_over_tcp.settings import Echo, Incoming, Link, Meeting, Outgoing, Place

Opened = OutgoingLink | IncomingLink | EchoPort | MeetingLink | MeetingPlace


class Relay:
    """Has just the links that are wanted; those that stay are not touched."""

    def __init__(self) -> None:
        self._links: dict[Link, Opened] = {}
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
                failures.append(f"{_place(new)}: {error.strerror}")
        return "; ".join(sorted(failures))

    def _opened(self, link: Link) -> Opened:
        match link:
            case Outgoing():
                return OutgoingLink(link, self._intake)
            case Incoming():
                return IncomingLink(link, self._intake, self._link_to, self._place_of)
            case Echo():
                return EchoPort(link, self._intake)
            case Meeting():
                return MeetingLink(link, self._intake)
            case Place():
                return MeetingPlace(link)

    def _link_to(self, address: str) -> OutgoingLink | None:
        outgoing = (link for link in self._links.values() if isinstance(link, OutgoingLink))
        return next((link for link in outgoing if link.leads_to(address)), None)

    def _place_of(self, meeting: bytes) -> MeetingPlace | None:
        places = (link for link in self._links.values() if isinstance(link, MeetingPlace))
        return next((place for place in places if place.meeting == meeting), None)

    def states(self) -> dict[str, str]:
        """What every link does, by its name."""
        return {link.name: link.state for link in self._links.values()}

    async def close(self) -> None:
        """Give up everything."""
        await self.have(())


def _place(link: Link) -> str:
    return "a meeting" if isinstance(link, Place) else ":".join(map(str, link.listen))
