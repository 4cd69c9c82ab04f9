"""etcd: agrees with the others on who is the primary."""

import json
import ssl
from typing import Any
from urllib import request
from urllib.error import URLError

from postgres_cluster.process import IDENTITY, RUN, Process

SECONDS = 3
NEW, EXISTING = "new", "existing"  # initial-cluster-state (etcd, Configuration options)
LIST = '[ ! -d "$1" ] || ls -A "$1"'  # as its owner: root has no right here to look into it (CAP_DAC_OVERRIDE)
OK = 200


class Etcd:
    """A member of etcd that gives its leadership away while the PostgreSQL beside it is the primary.

    A new leader of etcd prolongs all leases, and so the one that a lost primary has (etcd, lease/lessor.go, Promote):
    if both are lost with one node, the others would wait for twice as long.
    """

    def __init__(self) -> None:
        self._process = Process("etcd", "etcd", "--config-file", str(RUN / "etcd.yml"))
        self._company: dict[str, Any] = {}
        self._config: dict[str, Any] = {}

    def accept(self, files: dict[str, bytes]) -> None:
        """Start it. It reads its certificates at every connection; all else of its config stays as long as it lives."""
        self._company = json.loads(files["wanted.json"])
        config = json.loads(files["etcd.yml"])
        if not self._config:  # later, what it was told at its start stays
            self._config = config | {"initial-cluster-state": self._beginning(config)}
        own = {"etcd.yml": json.dumps(self._config).encode()}
        self._process.have(own | {name: files[name] for name in IDENTITY})

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

    def _beginning(self, config: dict[str, Any]) -> str:
        """How it comes into the cluster: as one of its first members, or as one whose data were lost."""
        if self._process.run("sh", "-c", LIST, "sh", config["data-dir"]):
            return NEW
        for other in self._company["others"]:
            try:
                return self._come_back(other, config["initial-advertise-peer-urls"])
            except OSError:
                continue
        return NEW

    def _come_back(self, other: str, own: str) -> str:
        """Have another member take this one anew, if the others had it and it is empty now. Raises OSError."""
        known = [one for one in self._ask("cluster/member/list", other)["members"] if one["peerURLs"] == [own]]
        if known and known[0].get("name") and not known[0].get("clientURLs"):
            return NEW  # they wait for its first start
        if known and known[0].get("clientURLs"):
            self._ask("cluster/member/remove", other, ID=known[0]["ID"])
            known = []
        if not known:
            self._ask("cluster/member/add", other, peerURLs=[own])
        print("the data of this member were lost: the others give them to it", flush=True)
        return EXISTING

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

    def _ask(self, what: str, whom: str = "", **question: Any) -> Any:
        """An answer of etcd's JSON gateway (etcd, gRPC gateway): of this member, or another. Raises OSError."""
        url = f"{whom or self._company['etcd']}/v3/{what}"
        call = request.Request(url, json.dumps(question).encode())  # noqa: S310 (https)
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
