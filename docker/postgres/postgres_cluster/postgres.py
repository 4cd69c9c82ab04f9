"""PostgreSQL with its Patroni, and what Patroni leaves to others: roles, databases, and restarts in turn."""

import json
import signal
import time
from typing import Any

from postgres_cluster import accounts
from postgres_cluster.backup import CONFIG
from postgres_cluster.patroni import Patroni
from postgres_cluster.process import IDENTITY, RUN, Process
from postgres_cluster.turn import RESTART, turn

PRIMARY_ROLES = ("primary", "master")
SETTLED = 3.0  # seconds for what Patroni does in one of its rounds, which are loop_wait apart
PSQL = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname=postgres")


class Postgres:
    """A member that goes by what was delivered; who is the primary sees to what all share."""

    def __init__(self) -> None:
        self._process = Process("postgres", "patroni", str(RUN / "patroni.yml"), reload=signal.SIGHUP)
        self._archiving = Process("postgres", "pgbackrest", "server", reload=signal.SIGHUP)
        self._wanted: dict[str, Any] = {}
        self._scope = ""
        self._patroni = Patroni(url="", user="", password="")
        self._name = ""
        self._ensured: dict[str, Any] | None = None
        self._settled_at = 0.0
        self._waits_since: float | None = None

    def accept(self, files: dict[str, bytes]) -> None:
        """Start Patroni, or have it read what changed; with another generation's data it begins anew."""
        before = self._scope
        self.read(files)
        if before not in ("", self._scope):
            self.stop()
            return
        if CONFIG in files:
            self._archiving.have({name: files[name] for name in (CONFIG, *IDENTITY)})
        self._process.have({name: files[name] for name in ("patroni.yml", *IDENTITY)})

    def read(self, files: dict[str, bytes]) -> None:
        """Learn from a config where Patroni is, and what is wanted."""
        config, self._wanted = json.loads(files["patroni.yml"]), json.loads(files["cluster.json"])
        api = self._wanted["api"]
        url = f"http://{config['restapi']['connect_address']}"
        self._patroni = Patroni(url=url, user=api["username"], password=api["password"])
        self._name, self._scope = config["name"], config["scope"]

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
        is_primary = state.get("state") == "running" and state.get("role") in PRIMARY_ROLES
        if not is_primary:
            self._ensured = None
        if state.get("state") != "running":
            return f"PostgreSQL is {state.get('state')}"
        if not is_primary and not state.get("quorum_standby"):
            return f"no commit waits for this replica yet: it is {state.get('replication_state', 'not streaming')}"
        complaint = self._see_to_what_all_share() if is_primary else ""
        return complaint or self._unsettled() or self._restarted(state, is_primary=is_primary)

    def status(self) -> int | None:
        """Exit status of Patroni, or of what brings its WAL away."""
        patroni, archiving = self._process.status(), self._archiving.status()
        return archiving if patroni is None else patroni

    def stop(self) -> None:
        """Stop PostgreSQL; a primary makes sure that another has all it has, and hands over (Patroni, ha.py)."""
        self._process.stop()
        self._archiving.stop()

    # --- what all share

    def _see_to_what_all_share(self) -> str:
        config = self._patroni.config()
        wanted = self._dynamic(config)
        if config != wanted:
            self._patroni.set_config(wanted)
        if self._ensured != self._wanted:
            if unknown := accounts.unknown(self._psql, wanted["postgresql"]["parameters"]):
                return f"PostgreSQL knows no parameter {', '.join(unknown)}"
            for subject in accounts.ensure(self._psql, self._wanted):
                print(f"made as configured: {subject}", flush=True)
            self._ensured = self._wanted
        return ""

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
        if config != self._dynamic(config):  # Patroni sees what it needs a restart for after the round that brought it
            self._settled_at = time.monotonic() + self._a_round
        return "the config of the cluster is not in effect yet" if time.monotonic() < self._settled_at else ""

    @property
    def _a_round(self) -> float:
        """Seconds until every Patroni has seen what is now, and done what follows from it."""
        return float(self._wanted["dynamic"]["loop_wait"]) + SETTLED

    def _restarted(self, state: dict[str, Any], *, is_primary: bool) -> str:
        if not state.get("pending_restart"):
            self._waits_since = None
            return ""
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if is_primary and now < self._waits_since + self._a_round:
            return "a change needs a restart; whether others need it, too, they tell at their next look"
        return self._take_turn()

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
