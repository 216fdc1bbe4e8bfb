"""A Python for toy workflows that has its libraries imported: programs run in forks of one process.

Most of the seconds of a toy's job go into importing torch, transformers and diffusers. Here one process imports them,
and every program that Snakemake or a test starts is a fork of it: with arguments, folder, environment and streams of
its own, as the interpreter would have started it. The package itself is never imported beforehand, so that a checkout's
own code runs; what Snakemake's parser makes of the project's rule files is known by their content. `COLD=1 make tests`
starts plain interpreters instead.
"""

import atexit
import contextlib
import gc
import json
import os
import pkgutil
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

LIBRARIES = """
    argparse_dataclass diffusers.models.autoencoders.autoencoder_kl diffusers.models.unets.unet_2d_condition
    docutils.core dpath graphlib h5py isal.igzip jaxtyping jinja2 matplotlib.backends.backend_svg matplotlib.pyplot
    multiprocessing.managers nbformat.v4 networkx nibabel pandas PIL.Image pydantic._internal._dataclasses
    pygments.formatters.html safetensors.torch scipy.io scipy.stats skimage.color skimage.exposure skimage.metrics
    skimage.transform skimage.util.unique sklearn.linear_model sklearn.preprocessing smart_open snakemake.cli
    snakemake.storage torch torch._dynamo transformers.models.clip.image_processing_clip
    transformers.models.clip.modeling_clip transformers.models.clip.tokenization_clip xml.sax.saxutils yte
"""
CLIENT = '''#!{python} -IS
"""Asks the warm process to run what it is asked to run, and dies with it."""
import json, os, signal, socket, sys
if os.environ.get("PYTHONPATH"):  # other libraries than those that are imported
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sock = socket.socket(socket.AF_UNIX)
sock.connect({address!r})
request = json.dumps({{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}).encode()
socket.send_fds(sock, [len(request).to_bytes(8, "big")], [0, 1, 2])
sock.sendall(request)
pid = int.from_bytes(sock.recv(8), "big")
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(pid, number))
signal.signal(signal.SIGINT, lambda number, _: os.killpg(pid, number))  # Ctrl-C reaches a program's jobs, too
status = os.waitstatus_to_exitcode(int.from_bytes(sock.recv(8), "big"))
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
'''


@contextlib.contextmanager
def warm_python(folder: Path):
    """The path of a program in `folder` that takes an interpreter's arguments, as long as the context lasts."""
    folder.mkdir(parents=True)
    program, address = folder / "python", folder / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(address))
        sock.listen(64)
        program.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        program.chmod(0o755)
        server = subprocess.Popen([sys.executable, __file__, str(sock.fileno()), program], pass_fds=[sock.fileno()])
    try:
        yield program
    finally:
        server.terminate()
        server.wait()


def serve(listener: socket.socket) -> dict:
    """Fork for every request; in the server this never returns, in a fork it returns the request."""
    clients: dict[int, socket.socket] = {}  # by the process that runs for them
    woken, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, *_ = select.select([listener, woken, *clients.values()], [], [])
        if woken in ready:
            os.read(woken, 4096)
            while clients:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with clients.pop(pid) as client, contextlib.suppress(BrokenPipeError):
                    client.sendall(status.to_bytes(8, "big"))
        for pid, client in clients.items():
            if client in ready:  # it says nothing more, so it has died
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if listener not in ready:
            continue
        client, _ = listener.accept()
        head, streams, *_ = socket.recv_fds(client, 8, 3)
        with client.makefile("rb") as file:
            request = json.loads(file.read(int.from_bytes(head, "big")))
        sys.stdout.flush()
        if pid := os.fork():
            clients[pid] = client
            client.sendall(pid.to_bytes(8, "big"))
            for stream in streams:
                os.close(stream)
            continue
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal; in the background it is ignored
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        for each in (listener, client, *clients.values()):
            each.close()
        os.close(woken)
        os.close(wake)
        return request


class RuleFiles:
    """Snakemake's parser with a memory: the same files by their content, wherever they lie, are parsed once.

    What the parser returns holds the path of the file, and in blocks the number of rules before it.
    """

    def __init__(self, root: Path, parse: Callable):
        self.parse, self.known = parse, {}
        sources = SimpleNamespace(sourcecache=SimpleNamespace(open=lambda path: open(path.get_path_or_uri(True))))
        for path in [root / "Snakefile", *root.glob("rules/**/*.smk")]:
            lines = {}
            source = SimpleNamespace(get_path_or_uri=lambda secret_free, path=path: str(path))
            text, n_rules = self.parse(source, sources, lines)
            if not re.search(r"def __rule_\d+\(", text):  # numbered by the rules before it
                self.known[path.read_text(encoding="utf-8")] = (text, lines, n_rules, repr(str(path)))

    def __call__(self, path, workflow, linemap, overwrite_shellcmd=None, rulecount=0):
        with workflow.sourcecache.open(path) as file:
            found = self.known.get(file.read())
        if not found or overwrite_shellcmd:
            return self.parse(path, workflow, linemap, overwrite_shellcmd, rulecount)
        text, lines, n_rules, there = found
        linemap |= lines
        return text.replace(there, repr(path.get_path_or_uri(secret_free=True))), rulecount + n_rules


def become(request: dict, program: str) -> None:
    """Run a request as an interpreter that starts: `-m module ...`, `-c code ...` or `script ...`."""
    import torch

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sys.executable = program
    del sys.path[0]
    option, *rest = request["argv"]
    if option == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [option, *rest]
        sys.path.insert(0, str(Path(option).resolve().parent))
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    import PIL.Image
    import snakemake.cli
    import snakemake.workflow

    plugins = [each.name for each in pkgutil.iter_modules() if re.match(r"snakemake_\w+_plugin", each.name)]
    for library in (*LIBRARIES.split(), *plugins):
        __import__(library)
    PIL.Image.init()  # its plugins, and those of Snakemake, are looked for once
    snakemake.cli.get_argument_parser()
    snakemake.workflow.parse = RuleFiles(Path(__file__).resolve().parents[1], snakemake.workflow.parse)
    sys.dont_write_bytecode = False  # a checkout's modules are compiled once
    gc.freeze()  # a fork then copies few pages
    number, warm_program = sys.argv[1:]
    try:
        become(serve(socket.socket(fileno=int(number))), warm_program)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    for written in (sys.stdout, sys.stderr):
        written.flush()
    os._exit(status)  # taking down all the libraries takes longer than most jobs
