"""PostgreSQL with its Patroni, and what Patroni leaves to others: roles, databases, and restarts in turn."""

import json
import signal
import time
from typing import Any

from postgres_cluster import accounts
from postgres_cluster.patroni import Patroni
from postgres_cluster.process import RUN, Process
from postgres_cluster.turn import RESTART, turn

FILES = ("patroni.yml", "authority.pem", "member.pem", "member.key")
PRIMARY_ROLES = ("primary", "master")
SETTLED = 3.0  # seconds until Patroni has made of a new config what it needs a restart for
PSQL = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname=postgres")


class Postgres:
    """A member that goes by what was delivered; who is the primary sees to what all share."""

    def __init__(self) -> None:
        self._process = Process("postgres", "patroni", str(RUN / "patroni.yml"), reload=signal.SIGHUP)
        self._wanted: dict[str, Any] = {}
        self._patroni = Patroni(url="", user="", password="")
        self._name = ""
        self._ensured: dict[str, Any] | None = None
        self._settled_at = 0.0

    def accept(self, files: dict[str, bytes]) -> None:
        """Start Patroni, or have it read what changed."""
        self.read(files)
        self._process.have({name: files[name] for name in FILES})

    def read(self, files: dict[str, bytes]) -> None:
        """Learn from a config where Patroni is, and what is wanted."""
        config, self._wanted = json.loads(files["patroni.yml"]), json.loads(files["cluster.json"])
        api = self._wanted["api"]
        url = f"http://{config['restapi']['connect_address']}"
        self._patroni = Patroni(url=url, user=api["username"], password=api["password"])
        self._name = config["name"]

    def is_primary(self) -> bool:
        """Whether this member is the primary. Raises OSError."""
        return self._patroni.state().get("role") in PRIMARY_ROLES

    def told(self) -> dict[str, Any]:
        """How this member is by Patroni's word, and all of them as it knows them. Raises OSError."""
        own, keys = self._patroni.state(), ("role", "state", "lag")
        members = [{key: one.get(key) for key in ("name", *keys)} for one in self._patroni.members()]
        return {"name": self._name, "role": own.get("role"), "state": own.get("state"), "members": members}

    def converge(self) -> str:
        """See to it that what the config wants is in effect; what is missing. Raises OSError."""
        state = self._patroni.state()
        if state.get("state") != "running":
            self._ensured = None
            return f"PostgreSQL is {state.get('state')}"
        if state.get("role") in PRIMARY_ROLES:
            self._see_to_what_all_share()
        elif not state.get("quorum_standby"):
            return f"no commit waits for this replica yet: it is {state.get('replication_state', 'not streaming')}"
        return self._unsettled() or (self._take_turn() if state.get("pending_restart") else "")

    def status(self) -> int | None:
        """Exit status of Patroni."""
        return self._process.status()

    def stop(self) -> None:
        """Stop PostgreSQL; a primary makes sure that another has all it has, and hands over (Patroni, ha.py)."""
        self._process.stop()

    # --- what all share

    def _see_to_what_all_share(self) -> None:
        config = self._patroni.config()
        wanted = self._dynamic(config)
        if config != wanted:
            self._patroni.set_config(wanted)
        if self._ensured != self._wanted:
            for subject in accounts.ensure(self._psql, self._wanted):
                print(f"made as configured: {subject}", flush=True)
            self._ensured = self._wanted

    def _dynamic(self, config: dict[str, Any]) -> dict[str, Any]:
        """Whether the cluster is paused is the operator's (patronictl pause)."""
        pause = {"pause": config["pause"]} if "pause" in config else {}
        return {**self._wanted["dynamic"], **pause}

    def _psql(self, statements: str) -> bytes:
        return self._process.run(*PSQL, text=statements.encode())

    # --- restarts

    def _unsettled(self) -> str:
        """Whether this member may not yet know what the config wants of it."""
        config = self._patroni.config()
        if config != self._dynamic(config):
            self._settled_at = time.monotonic() + SETTLED
        return "the config of the cluster is not in effect yet" if time.monotonic() < self._settled_at else ""

    def _take_turn(self) -> str:
        """Restart if it is this member's turn: never two at once, the primary last, and not as primary."""
        members = self._patroni.members()
        now = turn(self._name, members, len(self._wanted["members"]))
        if now is None:
            return "a change needs a restart, and it is not this member's turn"
        print(f"a change needs a {now}", flush=True)
        if now == RESTART:
            self._patroni.restart()
        else:
            self._patroni.switch_over(self._name)
        return "restarted for a change"
