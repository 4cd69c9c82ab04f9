"""etcd: agrees with the others on who is the primary."""

import json
import ssl
from typing import Any
from urllib import request
from urllib.error import URLError

from postgres_cluster.process import RUN, Process

SECONDS = 3
FILES = ("etcd.yml", "authority.pem", "member.pem", "member.key")
OK = 200


class Etcd:
    """A member of etcd that gives its leadership away while the PostgreSQL beside it is the primary.

    A new leader of etcd prolongs all leases, and so the one that a lost primary has (etcd, lease/lessor.go, Promote):
    if both are lost with one node, the others would wait for twice as long.
    """

    def __init__(self) -> None:
        self._process = Process("etcd", "etcd", "--config-file", str(RUN / "etcd.yml"))
        self._company: dict[str, str] = {}

    def accept(self, files: dict[str, bytes]) -> None:
        """Start it. It reads its certificates at every connection; all else of its config stays as long as it lives."""
        self._company = json.loads(files["wanted.json"])
        self._process.have({name: files[name] for name in FILES})

    def converge(self) -> str:
        """Look whether it has a leader, and is not one that should be another."""
        own = self._ask("maintenance/status")
        leader, me = own.get("leader", "0"), own["header"]["member_id"]
        if leader == "0":
            return "etcd has no leader"
        if leader == me and self._is_beside_primary():
            self._give_leadership_away(me)
        return ""

    def status(self) -> int | None:
        """Exit status of etcd."""
        return self._process.status()

    def stop(self) -> None:
        """End it; it gives its leadership away by itself."""
        self._process.stop()

    def _is_beside_primary(self) -> bool:
        try:
            with request.urlopen(f"{self._company['api']}/primary", timeout=SECONDS) as answer:  # noqa: S310 (http)
                return bool(answer.status == OK)
        except OSError:
            return False

    def _give_leadership_away(self, me: str) -> None:
        """To the first other that takes it."""
        for member in self._ask("cluster/member/list")["members"]:
            if member["ID"] != me:
                try:
                    self._ask("maintenance/transfer-leadership", targetID=member["ID"])
                except OSError:
                    continue
                print(f"gave etcd's leadership to {member.get('name')}", flush=True)
                return

    def _ask(self, what: str, **question: str) -> Any:
        """An answer of etcd's JSON gateway (etcd, gRPC gateway). Raises OSError."""
        call = request.Request(f"{self._company['etcd']}/v3/{what}", json.dumps(question).encode())  # noqa: S310 (https)
        try:
            with request.urlopen(call, timeout=SECONDS, context=self._trust()) as answer:  # noqa: S310
                return json.load(answer)
        except URLError as error:
            raise OSError(f"etcd does not answer: {error.reason}") from None

    def _trust(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        folder = "/etc/cluster"  # root reads what was delivered; what it gave away it cannot
        context.load_verify_locations(f"{folder}/authority.pem")
        context.load_cert_chain(f"{folder}/member.pem", f"{folder}/member.key")
        return context
