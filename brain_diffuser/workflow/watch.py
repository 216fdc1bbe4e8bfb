"""How far a run is: stages of each subject, stimuli done of how many, time left, and the jobs that failed.

    python -m brain_diffuser.watch [--every SECONDS] [--json] [the arguments of the run, as for snakemake]

Reads what is on disk (Snakemake's plan and log, the jobs' own logs and tables) and changes no result.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.artifacts import system_faults, tables, text_files
from brain_diffuser.workflow import resource_usage
from brain_diffuser.workflow.config import command_line

SUMMARY = (__doc__ or "").partition("\n")[0]
OTHERS = "All other arguments are those of the run, as for snakemake."
TAIL = 4096  # bytes of a log that are read
SILENT = 600  # seconds without a sign of life after which a run may have been killed
CLOCKS = 5  # seconds by which clocks of machines may differ

EVENT = re.compile(
    r"^(?P<indent> *)(?:(?:local)?(?:rule|checkpoint)|Error in rule) (?P<rule>\w+):\n"
    r"(?P<fields>(?:(?P=indent)    .*\n)+)"
    r"|^Finished jobid: (?P<finished>\d+)"
    r"|^ *\[(?P<at>\w{3} \w{3} .*)\]$",
    re.M,
)
FIELD = re.compile(r"^ *([\w-]+): (.*)$", re.M)
PROGRESS = re.compile(
    r"^\S+ \w+: (?:(?P<done>\d+) of (?P<total>\d+) .*, (?P<left>\d+) s left"
    r"|step \d+ of \d+ of images (?P<next>\d+)-\d+ of (?P<images>\d+)(?:, (?P<rest>\d+) s left)?)$",
    re.M,
)
INTERRUPTED = "Terminating processes on user request"
"""How the line of Snakemake's log begins after which jobs fail because the user has stopped the run."""
SPAN = re.compile(r"(\d{5})-(\d{5})$")


class Job(NamedTuple):
    """A job of the workflow: its rule with the values of its wildcards names it."""

    rule: str
    wildcards: str
    log: str
    benchmark: str
    resources: str
    threads: str = "1"
    inputs: str = ""
    outputs: str = ""

    @property
    def name(self) -> tuple[str, str]:
        return self.rule, self.wildcards

    @property
    def values(self) -> dict[str, str]:
        """Its wildcards."""
        return dict(each.split("=", 1) for each in self.wildcards.split(", ") if "=" in each)

    @property
    def stage(self) -> str:
        """Its rule; a stage, its shards and what subjects share of it are one."""
        return self.rule.removesuffix("_shard").removeprefix("shared_")

    @property
    def subject(self) -> str:
        return self.values.get("subject", self.values.get("subject_or_average", ""))

    @property
    def table(self) -> Path:
        """The table of its subject's stimuli, in the folder of results that its log lies in."""
        root, found, _ = self.log.partition(f"/{self.subject}/logs/")
        return Path(root if found else "results", self.subject, "data/stimuli.tsv")

    @property
    def kind(self) -> tuple[str, ...]:
        """What stimuli of its stage take the same time."""
        return self.stage, *(self.values.get(key, "") for key in ("feature", "variant"))

    @property
    def gpus(self) -> int:
        """How many it asks for."""
        found = re.search(r"\bgpu=(\d+)", self.resources)
        return int(found[1]) if found else 0

    @property
    def span(self) -> tuple[int, int] | None:
        """The stimuli of a shard."""
        found = SPAN.search(self.values.get("span", ""))
        return (int(found[1]), int(found[2])) if found else None

    @property
    def split(self) -> str:
        """Whose stimuli a shard has: train, test or train+test."""
        return "train+test" if self.rule.startswith("held_out") else self.values.get("split", "test")

    def stimuli(self) -> int | None:
        """How many a shard has; at most so many while the table of stimuli is not there. None: this is no shard."""
        if self.span is None:
            return None
        start, end = self.span
        known = splits(self.table)
        return max(0, (min(end, sum(map(known.count, self.split.split("+")))) if known else end) - start)


class Failure(NamedTuple):
    """A failed job, and a cluster's number of it, if any."""

    job: Job
    number: str


@dataclass
class Log:
    """What Snakemake's log says of a run: its jobs by name, how and when each was last seen, and whether it is over."""

    path: Path | None
    jobs: dict[tuple[str, str], Job]
    states: dict[tuple[str, str], str]
    since: dict[tuple[str, str], float]
    failures: list[Failure]
    ended: bool


@dataclass
class Row:
    """A stage of a subject. Stimuli are None where it has no shards, seconds where nothing tells."""

    subject: str
    stage: str
    state: str
    jobs_done: int
    jobs_running: int
    jobs: int
    stimuli_done: int | None
    stimuli: int | None
    is_bound: bool  # at most so many stimuli
    seconds_left: float | int | None
    now: str


def jobs_in(text: str) -> list[Job]:
    """The jobs that Snakemake's output names, in its order."""
    return [_job(found) for found in EVENT.finditer(text) if found["rule"]]


def _job(found: re.Match[str]) -> Job:
    said = dict(FIELD.findall(found["fields"]))
    wildcards, log, benchmark, resources = (said.get(key, "") for key in ("wildcards", "log", "benchmark", "resources"))
    threads, inputs, outputs = said.get("threads", "1"), said.get("input", ""), said.get("output", "")
    return Job(found["rule"], wildcards, log, benchmark, resources, threads, inputs, outputs)


def planned(arguments: Sequence[str] = ()) -> list[Job]:
    """The jobs that Snakemake would run with these arguments.

    Raises FileNotFoundError or ValueError: it would not run.
    """
    command_line.check_files(command_line.config_files(arguments))  # where Snakemake shows a traceback
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet=host", *arguments]
    found = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if found.returncode:
        said = [line for line in text_files.lines(found.stdout + found.stderr) if line.strip()]
        why = [line for line in said if not line.startswith(("Using ", "Assuming ", "Building ", "    ", "  File "))]
        raise ValueError(f"snakemake --dry-run {' '.join(arguments)} failed: {(why or ['no output'])[-1]}")
    return jobs_in(found.stdout + found.stderr)


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str], list[str]]:
    """A command's own options, other arguments of the run, and what stands behind -- with it."""
    given = sys.argv[1:]
    targets = given[given.index("--") :] if "--" in given else []
    options, others = parser.parse_known_args(given[: len(given) - len(targets)])
    return options, others, targets


def newest_log(folder: Path = Path(".snakemake/log")) -> Path | None:
    """The log of the last run that had jobs to do; dry runs have none, other commands name none."""
    for path in sorted(folder.glob("*.snakemake.log"), reverse=True):
        if "Job stats:" in path.read_text(encoding="utf-8", errors="replace"):
            return path
    return None


def read_log(path: Path | None) -> Log:
    """The states of a run's jobs: running (or submitted), done, failed, stopped by the user; one tried again runs."""
    text = path.read_text(encoding="utf-8", errors="replace") if path else ""
    log = Log(path, {}, {}, {}, [], "\nComplete log(s):" in text)
    interrupted = text.find(f"\n{INTERRUPTED}")
    started: dict[str, Job] = {}
    failed: dict[tuple[str, str], Failure] = {}
    at = 0.0
    for found in EVENT.finditer(text):
        if found["at"]:
            with suppress(ValueError, OverflowError):  # other brackets that look like a date
                at = time.mktime(time.strptime(found["at"]))
            continue
        fields = dict(FIELD.findall(found["fields"] or ""))
        number = found["finished"] or fields.get("jobid", "")
        if found["rule"] and "resources" in fields:
            job = started[number] = _job(found)
            log.jobs[job.name], log.states[job.name], log.since[job.name] = job, "running", at
        elif number in started:  # what an error lists has no resources, be it of a job or of a group of jobs
            name = started[number].name
            is_stopped = 0 <= interrupted < found.start()
            log.states[name] = "done" if found["finished"] else "stopped" if is_stopped else "failed"
            failed[name] = Failure(started[number], fields.get("external_jobid", ""))
    log.failures = [each for name, each in failed.items() if log.states[name] == "failed"]
    return log


def failures(path: str | Path | None, lines: int = 4) -> Iterator[str]:
    """Each failed job of a run once: its rule, its log and that log's last lines."""
    failed = read_log(Path(path)).failures if path else []
    if failed:
        yield f"{len(failed)} job{'s' * (len(failed) > 1)} failed:"
    for job, number in failed:
        words = [job.rule, job.wildcards, f"job {number} of the cluster" if number else ""]
        yield f"  {', '.join(filter(None, words))}"
        last = last_lines(job.log, lines)
        yield f"    log: {job.log or 'none'}{'' if last else ', empty: the job could not start, or was killed'}"
        yield from (f"    | {line}" for line in last)


def last_lines(log: str, n: int) -> list[str]:
    """The last lines of a job's log."""
    return text_files.lines(_tail(log))[-n:]


def rows(plan: Iterable[Job], left: set[tuple[str, str]], log: Log, known: set[tuple[str, str]]) -> list[Row]:
    """The stages of all subjects.

    plan: all jobs there are. left: names of those that were to be run when it was asked for. known: those that the
    log had as done even then, which says nothing any more.
    """
    jobs = {job.name: job for job in plan} | log.jobs
    states = {name: "waiting" if name in left else "done" for name in jobs}
    for name, state in log.states.items():
        if state == "running" and log.ended:
            states[name] = "stopped" if name in left else "done"
        elif state != "done" or name not in known:
            states[name] = state
    found = {name: _work(job, states[name], log.since.get(name, 0.0)) for name, job in jobs.items()}
    pace = _pace(jobs, states, found)
    stages: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs.values():
        if job.rule != "all":
            stages[job.subject, job.stage].append(job)
    return [_row(key, some, states, found, pace) for key, some in stages.items()]


class Work(NamedTuple):
    """A job's stimuli, how many of them are done, the seconds left, and the last line of its log while it runs."""

    stimuli: int
    done: int
    seconds: float | None
    line: str


def _work(job: Job, state: str, since: float) -> Work:
    n = job.stimuli() or 0
    if state != "running":
        return Work(n, n if state == "done" else 0, 0.0 if state == "done" else None, "")
    file = Path(job.log)
    text = _tail(job.log) if file.is_file() and file.stat().st_mtime > since - CLOCKS else ""
    last = text_files.lines(text)[-1] if text else "no line in its log yet"
    progress = [*PROGRESS.finditer(text)]
    if not progress:
        return Work(n, 0, None, last)
    found = progress[-1]
    done = int(found["next"]) - 1 if found["next"] else int(found["done"])
    total, left = found["total"] or found["images"], found["left"] or found["rest"]
    return Work(n, round(n * done / max(1, int(total))), int(left) if left else None, last)


def _pace(jobs: dict, states: dict, found: dict[tuple[str, str], Work]) -> dict[tuple[str, ...], float]:
    """Seconds for a stimulus of each kind: by the tables of finished shards, else by what runs."""
    wanted = {job.kind for name, job in jobs.items() if states[name] != "done" and found[name].stimuli}
    sums: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0])
    guesses: dict[tuple[str, ...], float] = {}
    for name, job in jobs.items():
        n, done, seconds, _ = found[name]
        if job.kind not in wanted or not done:
            continue
        table = Path(job.benchmark)
        if states[name] == "done" and table.is_file():
            taken = _seconds(table)
            if taken is not None:
                sums[job.kind] = [sums[job.kind][0] + taken, sums[job.kind][1] + n]
        elif seconds and done < n:
            guesses[job.kind] = seconds / (n - done)
    return guesses | {kind: seconds / n for kind, (seconds, n) in sums.items()}


def _seconds(table: Path) -> float | None:
    """The seconds that a finished job took; None where its table is empty or being written."""
    return _read_seconds(table, table.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_seconds(table: Path, _: int) -> float | None:
    row = resource_usage.read_benchmark(table)
    try:
        return float(row["s"]) if row else None
    except ValueError:
        return None


def _row(key: tuple[str, str], jobs: list[Job], states: dict, found: dict, pace: dict) -> Row:
    counts = Counter(states[job.name] for job in jobs)
    work = [found[job.name] for job in jobs]
    total = sum(each.stimuli for each in work)
    left = []
    for job, each in zip(jobs, work, strict=True):
        known = each.seconds is None and job.kind in pace
        if each.stimuli:
            left.append(pace[job.kind] * (each.stimuli - each.done) if known else each.seconds)
    lines = [each.line for each in work if each.line]
    first = next((state for state in ("failed", "running", "stopped") if counts[state]), None)
    return Row(
        *key,
        state=first or ("done" if counts["done"] == len(jobs) else "waiting"),
        jobs_done=counts["done"],
        jobs_running=counts["running"],
        jobs=len(jobs),
        stimuli_done=sum(each.done for each in work) if total else None,
        stimuli=total or None,
        is_bound=not splits(jobs[0].table),
        seconds_left=sum(left) / max(1, counts["running"]) if left and None not in left else None,
        now=lines[0] if lines else "",
    )


@lru_cache(maxsize=64)
def _read_splits(table: Path, _: int) -> list[str]:
    return [row["split"] for row in tables.read_rows(table, ("split",))]


def splits(table: Path) -> list[str]:
    """The split of each stimulus; nothing while it is not known."""
    return _read_splits(table, table.stat().st_mtime_ns) if table.is_file() else []


def _tail(path: str) -> str:
    """The end of a job's log; nothing if there is none."""
    file = Path(path)
    if not file.is_file():
        return ""
    with open(file, "rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL))
        return stream.read().decode("utf-8", errors="replace").strip()


def table(found: Sequence[Row]) -> Iterator[str]:
    """The rows, aligned."""
    cells = [("subject", "stage", "state", "jobs", "stimuli", "left", "now")]
    for row in found:
        bound = "at most " * row.is_bound
        stimuli = "" if row.stimuli is None else f"{row.stimuli_done:,} of {bound}{row.stimuli:,}"
        jobs = f"{row.jobs_done} of {row.jobs}" + (f", {row.jobs_running} running" if row.jobs_running else "")
        is_open = row.seconds_left is not None and row.state != "done"
        left = resource_usage.as_time((row.seconds_left or 0.0) / 3600) if is_open else ""
        cells.append((row.subject or "-", row.stage, row.state, jobs, stimuli, left, row.now))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _summary(found: Sequence[Row], log: Log) -> str:
    """One line on the whole run."""
    done, running, total = (sum(getattr(row, key) for row in found) for key in ("jobs_done", "jobs_running", "jobs"))
    words = f"{done} of {total} jobs done, {running} running"
    if log.path is None:
        return f"{words}; nothing was started here yet"
    if log.ended:
        return f"{words}; the last run has ended ({log.path})"
    signs = [log.path, *(Path(job.log) for name, job in log.jobs.items() if log.states[name] == "running")]
    silence = time.time() - max(path.stat().st_mtime for path in signs if path.is_file())
    hint = ": was it killed?" if silence > SILENT else ""
    return f"{words}; last sign of life {resource_usage.as_time(max(0.0, silence) / 3600)} ago{hint} ({log.path})"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.watch", description=SUMMARY, epilog=OTHERS, allow_abbrev=False
    )
    parser.add_argument("--every", type=float, metavar="SECONDS", help="show it again and again, until all is done")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON each time")
    options, others, targets = parse(parser)
    arguments = [*others, *targets]
    path, plan, left, known = None, [], set(), set()
    try:
        while True:
            if not plan or newest_log() != path:  # another run began, perhaps with other settings
                path = newest_log()
                known = {name for name, state in read_log(path).states.items() if state == "done"}
                plan = planned(["--forceall", *arguments])
                left = {job.name for job in planned(arguments)}
            log = read_log(path)
            found = rows(plan, left, log, known)
            failed = list(failures(path))
            if options.json:
                shown = [json.dumps({"rows": [asdict(row) for row in found], "failed": failed, "ended": log.ended})]
            else:
                clear = "\033[H\033[J" if options.every and sys.stdout.isatty() else ""
                shown = [f"{clear}{_summary(found, log)}", "", *table(found), *(["", *failed] if failed else [])]
            sys.stdout.write("\n".join(shown) + "\n")
            sys.stdout.flush()
            if not options.every or all(row.state == "done" for row in found):
                return
            time.sleep(options.every)
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
    except KeyboardInterrupt:
        return
