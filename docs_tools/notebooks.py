"""Tutorials: Markdown pages whose Python blocks are run as notebooks on the finished demo run.

    python -m docs_tools.notebooks

runs every page of docs/tutorials in a kernel of its own, all in one temporary copy of the project with its results, and
keeps the executed notebooks in build/tutorials. The site shows their outputs (docs_tools/pages.py) and has the files.
"""

import argparse
import base64
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
EXECUTED = ROOT / "build/tutorials"
SECONDS = 600
ERASED = re.compile(r"\x1b\[[0-9]*[GJK]")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LEFT_OUT = {".git", ".venv", ".snakemake", "build", "site", "__pycache__"}


def sources() -> list[Path]:
    """The pages of docs/tutorials that are notebooks, in the order of their names."""
    return sorted((ROOT / "docs/tutorials").glob("*.md"))


def copy_project(folder: Path, root: Path = ROOT) -> None:
    """Copy the program and the demo's results, so that nothing that is run there touches ours; holes in files stay."""
    folder.mkdir(parents=True)
    entries = [str(path) for path in root.iterdir() if path.name not in LEFT_OUT]
    subprocess.run(["cp", "-a", "--sparse=always", *entries, str(folder)], check=True)


def run(path: Path, folder: Path) -> NotebookNode:
    """The notebook of a page, run in a folder.

    Raises RuntimeError: a cell failed; its error follows what the last cells wrote.
    """
    notebook = jupytext.read(path)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path_of_tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {
        "PATH": path_of_tools,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm would like to draw its bars as widgets
        "MPLBACKEND": "agg",  # that of notebooks is no package of the jobs that a cell starts
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning would take the other core from what it does
    }
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=SECONDS, startup_timeout=SECONDS, resources=resources)
    try:
        client.execute(env=environment, stderr=subprocess.DEVNULL)
    except CellExecutionError as error:
        written = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
        raise RuntimeError(ESCAPES.sub("", "".join([*written[-2:], str(error)]))) from error
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs, folder)
    return notebook


def joined(outputs: list[NotebookNode], folder: Path) -> list[NotebookNode]:
    """The outputs of a cell, with what it wrote piece by piece as one text."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            output.text = plain(output.text, folder)
    return merged


def plain(text: str, folder: Path) -> str:
    """What a program wrote, without colours, lines that it wrote over, and the temporary folder."""
    lines = ESCAPES.sub("", ERASED.sub("\r", text)).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines).replace(str(folder), ".")


def executed(path: Path) -> NotebookNode | None:
    """The notebook of a page with its outputs; none where its code was never run, or has changed since."""
    notebook = EXECUTED / f"{path.stem}.ipynb"
    if not notebook.is_file():
        return None
    written = jupytext.read(path)
    pair = [_code(written), _code(nbformat.read(notebook, as_version=4))]
    if [cell.source for cell in pair[0]] != [cell.source for cell in pair[1]]:
        return None
    for cell, done in zip(*pair, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    return written


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of a notebook that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def files(path: Path) -> dict[str, bytes]:
    """The images of a tutorial's outputs and the notebook itself, by their paths in the site."""
    notebook = executed(path)
    if notebook is None:
        return {}
    images = {
        f"tutorials/{path.stem}/{name}": base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        for name, output in _images(cell)
    }
    return {f"tutorials/{path.stem}.ipynb": nbformat.writes(notebook).encode(), **images}


def with_outputs(path: Path) -> str | None:
    """The page with the outputs below its cells, or none where it has to be run first."""
    notebook = executed(path)
    if notebook is None:
        return None
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts += [f"```python\n{cell.source}\n```", *_shown(cell, path.stem)]
    title, _, rest = "\n\n".join(parts).partition("\n")
    return f"{title}\n\n*[This page as a notebook with its outputs]({path.stem}.ipynb).*\n{rest}\n"


def _images(cell: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """The outputs of a cell that are images, with a file name for each."""
    outputs = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    return [(f"{cell.execution_count}_{number}.png", output) for number, output in enumerate(outputs)]


def _shown(cell: NotebookNode, stem: str) -> list[str]:
    """The outputs of a cell in Markdown."""
    names = {id(output): name for name, output in _images(cell)}
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        if id(output) in names:
            parts.append(f"![output of the cell above]({stem}/{names[id(output)]})")
        elif "text/markdown" in data:
            parts.append(data["text/markdown"])
        else:
            parts.append(f"``` {{.text .output}}\n{output.get('text', data.get('text/plain', '')).rstrip()}\n```")
    return parts


def _cpu_seconds() -> float:
    """What finished processes that were started here have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Run all tutorials, or those that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m docs_tools.notebooks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="tutorials by the names of their pages, such as demo; default: all")
    names = parser.parse_args().names
    if not (ROOT / "results/report.html").is_file():
        sys.stderr.write("results/report.html is missing; tutorials run on the finished demo: run make recon first\n")
        return 1
    if not names:
        shutil.rmtree(EXECUTED, ignore_errors=True)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "brain-diffuser-dag"
        copy_project(folder)
        for path in sources():
            if names and path.stem not in names:
                continue
            began, cpu = time.monotonic(), _cpu_seconds()
            try:
                notebook = run(path, folder)
            except RuntimeError as error:
                sys.stderr.write(f"docs/tutorials/{path.name}: a cell failed\n{error}\n")
                return 1
            nbformat.write(notebook, EXECUTED / f"{path.stem}.ipynb")
            took = f"{time.monotonic() - began:.0f} s, {_cpu_seconds() - cpu:.0f} CPU-s"
            sys.stdout.write(f"docs/tutorials/{path.name}: {took}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
