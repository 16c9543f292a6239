"""A real PostgreSQL server for a test, on loopback, in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

SEARCHED = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def binary(name):
    """The path of a program of PostgreSQL, or None."""
    found = shutil.which(name)
    return found or next((str(folder / name) for folder in SEARCHED if (folder / name).exists()), None)


def missing():
    """Why no server can be started here; empty where one can."""
    if binary("postgres") is None or binary("initdb") is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and (shutil.which("runuser") is None or not _user()):
        return "PostgreSQL refuses to run as root, and there is no user postgres to run it as"
    return ""


def _user():
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return ""


def _run(*words):
    before = ["runuser", "-u", _user(), "--"] if os.getuid() == 0 else []
    subprocess.run([*before, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")


class Server:
    """A server with the user `graticule`, whose password is needed where `password` is given."""

    def __init__(self, folder, password=None):
        self.folder, self.password = Path(folder), password
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:
            os.chown(self.folder, pwd.getpwnam(_user()).pw_uid, -1)
            for outer in self.folder.parents:  # the folders of pytest are closed to other users
                if outer.owner() == "root" and outer.stat().st_mode & 0o005 != 0o005 and outer != Path("/"):
                    outer.chmod(outer.stat().st_mode | 0o055)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        secret = self.folder / "secret"
        secret.write_text(password or "unused")
        secret.chmod(0o644)
        how = "scram-sha-256" if password else "trust"
        _run(binary("initdb"), "-D", self.folder / "data", "-U", "graticule", "-A", how, "--pwfile", secret, "-N")
        self.start()

    @property
    def url(self):
        secret = f":{self.password}" if self.password else ""
        return f"postgresql://graticule{secret}@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        _run(binary("pg_ctl"), "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        _run(binary("pg_ctl"), "-D", self.folder / "data", "-w", "-m", "immediate", "stop")
