"""CPU-seconds of each script before its first work: a new interpreter and the imports of the script alone."""

import argparse
import ast
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow_scripts"
PREAMBLE = "import snakemake.script"  # what Snakemake's own first lines of a script import
HEAVY = ("torch", "transformers", "diffusers", "scipy", "sklearn", "matplotlib", "nibabel", "skimage", "pandas")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("scripts", nargs="*", help="as data/betas.py; all of them otherwise")
    options = parser.parse_args()
    chosen = options.scripts or sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py"))
    programs = {"an interpreter": "", "Snakemake's own lines": PREAMBLE}
    programs |= {name: f"{PREAMBLE}\n{imports(SCRIPTS / name)}" for name in chosen}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.times):
        for name, program in programs.items():
            seconds[name].append(cpu_seconds(program))
    sys.stdout.write(f"CPU-seconds, median and range of {options.times} cold starts; what of the heavy packages\n")
    for name in sorted(programs, key=lambda name: statistics.median(seconds[name])):
        middle, least, most = statistics.median(seconds[name]), min(seconds[name]), max(seconds[name])
        sys.stdout.write(f"{middle:5.2f} ({least:.2f} to {most:.2f}) {name}: {', '.join(heavy(programs[name]))}\n")


def imports(script: Path) -> str:
    """The import statements of a script, without the work below them."""
    statements = ast.parse(script.read_text(encoding="utf-8")).body
    return "\n".join(ast.unparse(each) for each in statements if isinstance(each, ast.Import | ast.ImportFrom))


def cpu_seconds(program: str) -> float:
    """Of a new interpreter that runs a program in the project's folder, which the package is installed from."""
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"these imports fail:\n{program}")
    return usage.ru_utime + usage.ru_stime


def heavy(program: str) -> list[str]:
    """Which of the heavy packages a program imports."""
    reading, writing = os.pipe()
    listing = f"{program}\nimport os, sys\nos.write({writing}, ' '.join(set({HEAVY}) & set(sys.modules)).encode())"
    os.set_inheritable(writing, True)
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", listing], os.environ)
    os.close(writing)
    os.waitpid(process, 0)
    with os.fdopen(reading, encoding="utf-8") as file:
        return sorted(file.read().split())


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
