"""Roles, their passwords, and databases: what PostgreSQL has, compared with what it should have."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from postgres_cluster import scram

MARK = "dstack-vpn"  # the comment on a role that comes from the configuration
LOOK = f"""\
SELECT json_build_object(
    'roles', (SELECT json_object_agg(rolname, json_build_object('password', coalesce(rolpassword, ''),
        'ours', shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM '{MARK}',
        'login', rolcanlogin)) FROM pg_authid),
    'databases', (SELECT json_object_agg(datname, pg_get_userbyid(datdba)) FROM pg_database));
"""  # noqa: S608 (constants)

Psql = Callable[[str], bytes]
"""Runs statements as superuser; what they return."""


def ensure(psql: Psql, wanted: Mapping[str, Any]) -> list[str]:
    """Make, and change, what is not as wanted; the statements' subjects. Nobody's data are dropped. Raises OSError."""
    found = json.loads(psql(LOOK))
    steps = [*_roles(found["roles"], wanted), *_databases(found["databases"], wanted)]
    if steps:
        psql("".join(f"{statement};\n" for _, statement in steps))
    return [subject for subject, _ in steps]


def _roles(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    roles: Mapping[str, str] = wanted["roles"]
    for name, password in (roles | wanted["own_roles"]).items():
        known = found.get(name)
        if known is None and name in roles:
            yield f"role {name}", f"CREATE ROLE {_quoted(name)}"
            yield f"role {name}", f"COMMENT ON ROLE {_quoted(name)} IS '{MARK}'"
        elif known is None:
            continue  # Patroni makes its own
        if known is None or not known["login"] or not scram.is_for(known["password"], password):
            verifier = scram.verifier(password)
            yield f"password of {name}", f"ALTER ROLE {_quoted(name)} LOGIN PASSWORD '{verifier}'"
    for name, known in found.items():
        if known["ours"] and known["login"] and name not in roles:
            yield f"role {name}, no longer wanted", f"ALTER ROLE {_quoted(name)} NOLOGIN"


def _databases(found: Mapping[str, str], wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, owner in wanted["databases"].items():
        if name not in found:
            yield f"database {name}", f"CREATE DATABASE {_quoted(name)} OWNER {_quoted(owner)}"
            yield f"database {name}", f"REVOKE CONNECT, TEMPORARY ON DATABASE {_quoted(name)} FROM PUBLIC"
        elif found[name] != owner:
            yield f"owner of {name}", f"ALTER DATABASE {_quoted(name)} OWNER TO {_quoted(owner)}"


def _quoted(name: str) -> str:
    """A name as an identifier; the configuration allows no quotes in it."""
    return f'"{name}"'
