"""Step: debian:trixie-slim, which every image of the project builds on."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bootstrap import apt, command, paths
from bootstrap.console import say, step
from bootstrap.failure import BootstrapError
from bootstrap.retry import persistently

IMAGE = "debian:trixie-slim"
PULL_SECONDS = 180
FIX = f"docker pull {IMAGE}, or `docker load` it from a machine that has it"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
# Debian's ca-certificates writes its bundle anew when an image installs it, and takes in what lies here.
LOCAL = "usr/local/share/ca-certificates/host.crt"
# debootstrap copies the host's name and resolver, which are nobody else's business.
UNUSED = (
    "./etc/hostname",
    "./etc/resolv.conf",
    "./var/lib/apt/lists/*",
    "./var/cache/apt/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
)
# The same files as in Debian's own slim image: what is left out now is not to come back with the next package.
SLIM = {
    "etc/dpkg/dpkg.cfg.d/docker": "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\n"
    "path-exclude /usr/share/locale/*\nforce-unsafe-io\n",
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
}


def ensure(env: Mapping[str, str]) -> None:
    """Use the image that is there, else pull it, else make it with debootstrap."""
    with step("Base image") as current:
        if command.ask(["docker", "image", "inspect", IMAGE], env=env).ok:
            current.result = f"{IMAGE} unchanged"
        elif command.attempt(["docker", "pull", IMAGE], doing=f"pulling {IMAGE}", env=env, timeout=PULL_SECONDS).ok:
            current.result = f"{IMAGE} pulled"
        else:
            say("  no registry answers: making it with debootstrap")
            persistently(lambda: make(env))
            current.result = f"{IMAGE} made with debootstrap"


def make(env: Mapping[str, str]) -> None:
    """Make the image from Debian packages and import it. Leaves no files behind."""
    if os.geteuid() != 0:
        raise BootstrapError("no registry answers, and only root can run debootstrap", fix=FIX)
    if shutil.which("debootstrap", path=env.get("PATH")) is None:
        apt.install("debootstrap", why="makes the base image", env=env)
    with _workplace(env) as folder:
        root = folder / "root"
        bootstrap = ["debootstrap", "--variant=minbase", "trixie", str(root), *env.get("DEBIAN_MIRROR", "").split()]
        command.run(bootstrap, doing="debootstrap of trixie", fix=FIX, env=env)
        _adapt(root)
        _load(root, folder / "image.tar", env)


@contextmanager
def _workplace(env: Mapping[str, str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=paths.cache(env), prefix="debootstrap-") as name:
        try:
            yield Path(name)
        finally:
            # An interrupted debootstrap leaves these mounted; deleting below them would reach into the host.
            for mount in ("proc", "sys"):
                if (Path(name) / "root" / mount).is_mount():
                    command.ask(["umount", "--lazy", str(Path(name) / "root" / mount)], env=os.environ)


def _adapt(root: Path) -> None:
    for name, text in SLIM.items():
        (root / name).write_text(text)
    # The host may sit behind a proxy with a certificate of its own, which builds must trust as the host does.
    bundle = Path("/") / BUNDLE
    for target in (BUNDLE, LOCAL) if bundle.exists() else ():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, root / target)


def _load(root: Path, archive: Path, env: Mapping[str, str]) -> None:
    unused = [f"--exclude={pattern}" for pattern in UNUSED]
    pack = ["tar", "--numeric-owner", "--directory", str(root), *unused, "--create", "--file", str(archive), "."]
    command.run(pack, doing="packing the image", fix=FIX, env=env)
    changes = [f"ENV {name}=/{BUNDLE}" for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")]
    options = [option for change in [*changes, 'CMD ["bash"]'] for option in ("--change", change)]
    command.run(["docker", "import", *options, str(archive), IMAGE], doing="importing the image", fix=FIX, env=env)
