"""Images built from a folder of the project."""

from hashlib import sha256
from pathlib import Path

import pulumi
import pulumi_docker as docker

PROJECT = Path(__file__).resolve().parents[2]


def context_hash(folder: Path) -> str:
    """Changes when a file of a build context does: its path, its mode or its content."""
    digest = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        header = f"{path.relative_to(folder)}\0{path.stat().st_mode & 0o111 != 0}\0".encode()
        digest.update(header + sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def built_image(name: str, repository: str, folder: str, parent: pulumi.Resource) -> docker.RemoteImage:
    """An image of a build context, tagged with the context's hash; built anew only when that changes."""
    context = (PROJECT / folder).resolve()
    fingerprint = context_hash(context)
    return docker.RemoteImage(
        name,
        name=f"{repository}:{fingerprint[:12]}",
        # The other builder, buildx, goes to the engine of DOCKER_HOST, whatever the provider's host is.
        build=docker.RemoteImageBuildArgs(context=str(context), use_legacy_builder=True),
        triggers={"context": fingerprint},
        # The path differs between checkouts, the image does not.
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["build"]),
    )
