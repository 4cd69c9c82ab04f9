"""Parameters, roles with their passwords, and databases: what PostgreSQL has, compared with what it should have."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from postgres_cluster import scram

MARK = "dstack-vpn"  # the comment on a role that comes from the configuration
LOOK = f"""\
SELECT json_build_object(
    'roles', (SELECT json_object_agg(rolname, json_build_object('password', coalesce(rolpassword, ''),
        'ours', shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM '{MARK}',
        'login', rolcanlogin)) FROM pg_authid),
    'databases', (SELECT json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba),
        'public', has_database_privilege('public', oid, 'CONNECT, TEMPORARY'))) FROM pg_database));
"""  # noqa: S608 (constants)

# Without a replica a commit would wait for one; whoever is the primary next looks again.
WITHOUT_REPLICAS = "SET synchronous_commit = local;\n"

Psql = Callable[[str], bytes]
"""Runs statements as superuser; what they return."""


def unknown(psql: Psql, parameters: Iterable[str]) -> list[str]:
    """Those parameters that PostgreSQL does not know; Patroni would leave them out and say nothing. Raises OSError."""
    known = set(psql("SELECT name FROM pg_settings;\n").decode().split())
    return sorted(name for name in parameters if "." not in name and name not in known)


def ensure(psql: Psql, wanted: Mapping[str, Any]) -> list[str]:
    """Make, and change, what is not as wanted; the statements' subjects. Nobody's data are dropped. Raises OSError."""
    found = json.loads(psql(LOOK))
    steps = [*_roles(found["roles"], wanted), *_databases(found["databases"], wanted)]
    if steps:
        psql(WITHOUT_REPLICAS + "".join(f"{statement};\n" for _, statement in steps))
    return list(dict.fromkeys(subject for subject, _ in steps))


def _roles(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    roles: Mapping[str, str] = wanted["roles"]
    for name, password in (roles | wanted["own_roles"]).items():
        known = found.get(name)
        if known is None and name not in roles:
            continue  # Patroni makes its own
        if known is None:
            yield f"role {name}", f"CREATE ROLE {_quoted(name)}"
        if name in roles and not (known and known["ours"]):
            yield f"role {name}", f"COMMENT ON ROLE {_quoted(name)} IS '{MARK}'"
        if known is None or not known["login"] or not scram.is_for(known["password"], password):
            verifier = scram.verifier(password)
            yield f"password of {name}", f"ALTER ROLE {_quoted(name)} LOGIN PASSWORD '{verifier}'"
    for name, known in found.items():
        if known["ours"] and known["login"] and name not in roles:
            yield f"role {name}, no longer wanted", f"ALTER ROLE {_quoted(name)} NOLOGIN"
            ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"  # noqa: S608
            yield f"role {name}, no longer wanted", ending


def _databases(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, owner in wanted["databases"].items():
        known = found.get(name)
        if known is None:
            yield f"database {name}", f"CREATE DATABASE {_quoted(name)} OWNER {_quoted(owner)}"
        elif known["owner"] != owner:
            yield f"owner of {name}", f"ALTER DATABASE {_quoted(name)} OWNER TO {_quoted(owner)}"
        if known is None or known["public"]:
            yield f"database {name}", f"REVOKE CONNECT, TEMPORARY ON DATABASE {_quoted(name)} FROM PUBLIC"


def _quoted(name: str) -> str:
    """A name as an identifier; the configuration allows no quotes in it."""
    return f'"{name}"'
