"""What pgBackRest reads, at the members and where the backups are (pgBackRest 2.55, Configuration Reference).

Both sides run its server, and each shows the other a certificate: members bring what they wrote (WAL), and the place
of the backups fetches the rest. Every generation of the cluster has a part of its own there (a stanza).
"""

from collections.abc import Mapping

from vpn.model.postgres import BACKUP, BACKUP_PORT, POSTGRES, POSTGRES_PORT, Place, Postgres

Options = dict[str, str | list[str]]
CONFIG = "pgbackrest.conf"
RUN = "/run/cluster"  # in the container, in memory
SOCKETS = f"{RUN}/sockets"
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "member.pem", "member.key"
REPOSITORY = "/var/lib/pgbackrest"
# What a member keeps while the backups are out of reach. It lets go of more: the database goes on, and there is no way
# to the moments from there to the next backup.
MOST_WAITING = "1GiB"
LOSS = "5min"  # with everything at the members, at most so much is lost


def stanza(generation: int) -> str:
    """The part of a generation."""
    return f"generation-{generation}"


def data(generation: int) -> str:
    """Folder of a generation's data at a member. Those of earlier ones are left where they are."""
    return f"/var/lib/postgresql/{generation}"


def parameters(cluster: Postgres) -> dict[str, str]:
    """What PostgreSQL is told so that it brings what it writes (PostgreSQL, 19.5.3 Archiving)."""
    if not cluster.archives:
        return {}
    command = f"pgbackrest --stanza={stanza(cluster.generation)} archive-push %p"
    return {"archive_mode": "on", "archive_command": command, "archive_timeout": LOSS}


def restore(cluster: Postgres) -> str:
    """The command that fills a generation's folder with what the one before had."""
    before = f"--stanza={stanza(cluster.generation - 1)} --pg1-path={data(cluster.generation)}"
    if cluster.restore_to is None:
        return f"pgbackrest {before} restore"
    moment = cluster.restore_to.isoformat(" ")
    return f"pgbackrest {before} --type=time '--target={moment}' --target-action=promote restore"


def config(cluster: Postgres, place: Place) -> str:
    """The file of a member, or of the place of the backups."""
    own = _repository(cluster) if place.kind == BACKUP else _member(cluster)
    databases = _databases(cluster) if place.kind == BACKUP else _database(cluster, 1)
    return _sections({"global": _server(place) | own, stanza(cluster.generation): databases})


def _server(place: Place) -> Options:
    """Who may ask is in the section that names them."""
    return {
        "io-timeout": "20",  # seconds; then a member that does not answer is gone without
        "log-level-console": "warn",
        "log-level-file": "off",
        "tls-server-address": str(place.address),
        "tls-server-port": str(BACKUP_PORT),
        "tls-server-ca-file": f"{RUN}/{AUTHORITY}",
        "tls-server-cert-file": f"{RUN}/{CERTIFICATE}",
        "tls-server-key-file": f"{RUN}/{KEY}",
    }


def _repository(cluster: Postgres) -> Options:
    return {
        "tls-server-auth": [f"{one.name}=*" for one in cluster.members(POSTGRES)],
        "repo1-path": REPOSITORY,
        "repo1-retention-full": str(cluster.backups.keep),
        "backup-standby": "prefer",
        "start-fast": "y",
    }


def _member(cluster: Postgres) -> Options:
    (archive,) = cluster.archives
    allowed: Options = {"tls-server-auth": [f"{archive.name}=*"], "archive-push-queue-max": MOST_WAITING}
    return allowed | _reached("repo1-host", archive)


def _databases(cluster: Postgres) -> Options:
    found: Options = {}
    for number, member in enumerate(cluster.members(POSTGRES), 1):
        found |= _reached(f"pg{number}-host", member) | _database(cluster, number)
    return found


def _database(cluster: Postgres, number: int) -> Options:
    key = f"pg{number}"
    return {
        f"{key}-path": data(cluster.generation),
        f"{key}-port": str(POSTGRES_PORT),
        f"{key}-socket-path": SOCKETS,
    }


def _reached(key: str, place: Place) -> Options:
    """By its name: pgBackRest looks for no address in a certificate."""
    return {
        key: place.name,
        f"{key}-type": "tls",
        f"{key}-port": str(BACKUP_PORT),
        f"{key}-ca-file": f"{RUN}/{AUTHORITY}",
        f"{key}-cert-file": f"{RUN}/{CERTIFICATE}",
        f"{key}-key-file": f"{RUN}/{KEY}",
    }


def _sections(sections: Mapping[str, Options]) -> str:
    lines: list[str] = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        for key, value in options.items():
            lines += [f"{key}={one}" for one in ([value] if isinstance(value, str) else value)]
    return "\n".join([*lines, ""])
