"""A disk that is full: a small one in a mount namespace, or, where none may be mounted, a limit on the size of files.

A test's program runs in a process of its own, because what it tests can end the process. It imports this module:
`fill(n_bytes)` leaves so many bytes free (or lets no file grow larger), `free()` makes room again, FOLDER is the disk.
"""

import os
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

MIB = 2**20
FOLDER = Path(os.environ.get("SMALL_DISK", "."))
IS_MOUNTED = os.environ.get("SMALL_DISK_IS_MOUNTED") == "1"
FILLER = FOLDER / "filler"
MOUNT = 'mount -t tmpfs -o size=16m tmpfs "$SMALL_DISK" && exec "$@"'


@cache
def mounting() -> tuple[str, ...]:
    """The command that runs another one in a namespace where it may mount; empty if this machine allows none."""
    for namespace in (("unshare", "-m"), ("unshare", "-rm")):
        try:
            words = (*namespace, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
            if subprocess.run(words, capture_output=True, check=False).returncode == 0:
                return namespace
        except OSError:
            pass
    return ()


def run(program, folder, *arguments, mounted=True):
    """Run a program with FOLDER as its disk; it has to end well, whatever its disk does."""
    folder.mkdir(exist_ok=True)
    namespace = mounting() if mounted else ()
    here = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    words = ["-c", f"import sys\nsys.path[:0] = {here}\n{program}", *map(str, arguments)]
    if namespace:
        command = [*namespace, "sh", "-c", MOUNT, "sh", sys.executable, *words]
    else:
        from toy_workflow import interpreter

        command = [interpreter(), *words]
    env = os.environ | {"SMALL_DISK": str(folder), "SMALL_DISK_IS_MOUNTED": str(int(bool(namespace)))}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found


def fill(n_bytes):
    free()
    if IS_MOUNTED:
        disk = os.statvfs(FOLDER)
        with open(FILLER, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - n_bytes)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(1, n_bytes), resource.RLIM_INFINITY))


def free():
    if IS_MOUNTED:
        FILLER.unlink(missing_ok=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def names():
    """All that lies on the disk, but for what fills it."""
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path != FILLER)
