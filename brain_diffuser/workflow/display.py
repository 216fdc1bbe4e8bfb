"""What a run shows: a line for each stage of a subject and, on a terminal, one live bar; a dry run shows its plan.

The Snakefile puts this handler, of Snakemake's interface for loggers, in the place of Snakemake's own on the terminal.
A logger that is asked for (`--logger`) and every option about the output (`--quiet`, `--verbose`, `--printshellcmds`,
`--debug-dag`) keep Snakemake's own; so do workflows that import this one. Log files are complete either way.
"""

import logging
import os
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from brain_diffuser.workflow import reasons, resource_usage, watch
from brain_diffuser.workflow.job import QUIET
from brain_diffuser.workflow.reconcile import Results

ALL_OUTPUT = "--quiet=host"
"""The option with which Snakemake shows every job and reason."""
CLEAR_LINE = "\r\033[K"
BAR_WIDTH = 12
SECONDS_BETWEEN_BARS, SECONDS_BETWEEN_LINES = 1.0, 600.0
LONG_DRAWING, PAUSE = 0.1, 20  # one that takes so many seconds is not repeated for so many times as long
LAST_LINES = 4  # of a failed job's log

BEFORE_JOBS = ("Assuming ", "Building DAG", "Using shell", "Conda env", "Singularity ", "Group jobs: inactive")
"""How lines begin that say nothing of a run, before its jobs are known."""
DURING_JOBS = ("Nothing to be done", "Will exit after")
"""How lines begin that are shown once its jobs are known; so are all warnings and errors."""
STOPS = (watch.INTERRUPTED, "Shutting down", "Exiting because a job execution failed")
"""How lines begin after which nothing more is started."""
RESTARTED = re.compile(r"Trying to restart job (\d+)\.")
EXIT_STATUS = re.compile(r"returned non-zero exit status \d+\.")


def attach(workflow: Any, results: Results) -> None:
    """Show this run by a display in place of Snakemake's own output, unless that is asked for.

    Parameters
    ----------
    workflow
        Snakemake's object of the run.
    results
        The folder of results and its receipts, which say why a job runs.
    """
    settings = workflow.output_settings
    if settings.quiet is not None or settings.verbose or settings.printshellcmds or settings.debug_dag:
        return
    logger = logging.getLogger("snakemake.logging")
    for handler in [each for each in logger.handlers if each.name == "DefaultStreamHandler"]:
        logger.removeHandler(handler)
        logger.addHandler(Display(workflow, results, handler))
        os.environ[QUIET] = "1"


class Display(LogHandlerBase):
    """Shows a run of Snakemake by stages.

    Parameters
    ----------
    workflow
        Snakemake's object of the run.
    results
        Its folder of results.
    own : logging.StreamHandler
        Snakemake's handler of the terminal, which writes what is no stage of a run.
    """

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def __init__(self, workflow: Any, results: Results, own: Any):
        super().__init__(workflow.output_settings, None)
        self.workflow, self.results, self.own = workflow, results, own
        self.stream: TextIO = own.stream
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.has_begun = self.has_ended = self.has_bar = self.is_interrupted = False
        self.jobs: dict[int, watch.Job] = {}
        self.states: dict[tuple[str, str], str] = {}
        self.since: dict[tuple[str, str], float] = {}
        self.left: Counter[reasons.Key] = Counter()
        self.members: dict[reasons.Key, list[watch.Job]] = {}
        self.widths = (0, 0)
        self.spoke, self.next_drawing = time.monotonic(), 0.0
        self.ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(record)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._end()
        self.own.close()
        super().close()

    def _show(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        text = str(record.msg or "")
        if event == LogEvent.WORKFLOW_STARTED:
            self.has_begun = True
        elif event == LogEvent.RUN_INFO:
            if not self.jobs:
                self._plan()
        elif event == LogEvent.JOB_INFO:
            self._start(record)
        elif event == LogEvent.JOB_FINISHED:
            self._finish(record)
        elif event == LogEvent.JOB_ERROR:
            self._fail(record)
        elif event == LogEvent.PROGRESS:
            if vars(record)["done"] == vars(record)["total"]:
                self._end()
        elif event not in (None, LogEvent.ERROR):
            pass  # resources, groups, commands
        elif found := RESTARTED.match(text):
            job = self.jobs.get(int(found[1]))
            self._say(f"again: {', '.join(job.name)}" if job else text)
        elif text.startswith(STOPS):
            self.is_interrupted = self.is_interrupted or text.startswith(watch.INTERRUPTED)
            self._end()
            self._say(text)
        elif text.startswith("This was a dry-run"):
            self._say(f"This was a dry run. Every job with its files and its whole reason: add {ALL_OUTPUT}.")
        elif self._is_shown(record, text):
            self._erase()
            self.own.handle(record)
            self._draw()

    def _is_shown(self, record: logging.LogRecord, text: str) -> bool:
        """Whether a line of Snakemake's is shown that is about no job."""
        if record.levelno > logging.INFO:
            # A job that ends with an error has said which; what ended it otherwise, such as a signal, is said here.
            is_of_job = bool(self.jobs) and "CalledProcessError" in text
            return not (is_of_job and (self.is_interrupted or EXIT_STATUS.search(text)))
        if not self.has_begun:
            return not text.startswith(BEFORE_JOBS)
        return text.startswith(DURING_JOBS) if self.jobs else not text.startswith(BEFORE_JOBS)

    def _plan(self) -> None:
        """Read the jobs that are to run; a dry run shows them."""
        dag = self.workflow.dag
        found = [job for level in dag.toposorted() for job in level if dag.needrun(job)]
        self.jobs = {dag.jobid(job): reasons.described(job) for job in found}
        self.members = defaultdict(list)
        for job in self.jobs.values():
            if job.rule != "all":
                self.members[job.stage, job.subject].append(job)
        self.left = Counter({key: len(jobs) for key, jobs in self.members.items()})
        self.states = {job.name: "waiting" for job in self.jobs.values()}
        if self.workflow.dryrun:
            planned = [(self.jobs[dag.jobid(job)], reasons.why(job, dag, self.results)) for job in found]
            self._say(*reasons.table(planned))
            return
        self.widths = tuple(max((len(key[i] or "-") for key in self.members), default=0) for i in (0, 1))
        log = next(iter(self.workflow.logger_manager.get_logfile()), "")
        self._say(
            f"{reasons.count(len(self.jobs), 'job')} to do; complete log: {os.path.relpath(log) if log else 'none'}",
            self._cells(("stage", "subject"), "jobs", "stimuli", "took"),
        )

    def _start(self, record: logging.LogRecord) -> None:
        job = self.jobs.get(vars(record)["jobid"])
        if self.workflow.dryrun or job is None:
            return
        if not self.since:
            threading.Thread(target=self._tick, daemon=True).start()
        self.states[job.name] = "running"
        self.since[job.name] = time.time()
        self._draw()

    def _finish(self, record: logging.LogRecord) -> None:
        job = self.jobs.get(vars(record)["job_id"])
        if job is None:
            return
        self.states[job.name] = "done"
        key = job.stage, job.subject
        self.left[key] -= 1
        if self.left[key] == 0 and key in self.members:
            members = self.members[key]
            stimuli = sum(each.stimuli() or 0 for each in members)
            seconds = time.time() - min(self.since.get(each.name, time.time()) for each in members)
            took = resource_usage.as_time(round(seconds) / 3600).replace(".0 ", " ")
            self._say(self._cells(key, str(len(members)), f"{stimuli:,}" if stimuli else "", took))
        self._draw()

    def _fail(self, record: logging.LogRecord) -> None:
        fields = vars(record)
        job = self.jobs.get(fields["jobid"])
        if job is None or self.states[job.name] == "failed":
            return
        self.states[job.name] = "failed"
        if self.is_interrupted:
            return
        logs = [str(each) for each in fields["log"]]
        lines = [f"failed: {', '.join(filter(None, job.name))}", f"  log: {', '.join(logs) or 'none'}"]
        if not self.workflow.local_exec:  # a job of this machine has said it itself
            lines += [f"  | {line}" for line in watch.last_lines(job.log, LAST_LINES)]
        self._say(*lines)

    def _end(self) -> None:
        """Remove the bar for good, and say how much is done."""
        if self.has_ended or not self.since:
            return
        self.has_ended = True
        self.ended.set()
        self._erase()
        counts = Counter(self.states.values())
        took = resource_usage.as_time((time.time() - min(self.since.values())) / 3600)
        words = [f"{counts['done']:,} of {reasons.count(len(self.jobs), 'job')} done in {took}"]
        if counts["done"] < len(self.jobs):
            for state, word in (("failed", "failed"), ("running", "interrupted"), ("waiting", "not started")):
                words += [f"{counts[state]} {word}"] if counts[state] else []
        self._say(", ".join(words))

    def _cells(self, key: Sequence[str], *others: str) -> str:
        cells = (name.ljust(width) for name, width in zip((each or "-" for each in key), self.widths, strict=True))
        widths = (5, 9, 8)
        return "  ".join([*cells, *(other.rjust(width) for other, width in zip(others, widths, strict=True))]).rstrip()

    def _say(self, *lines: str) -> None:
        self._erase()
        self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()
        self.spoke = time.monotonic()
        self._draw()

    def _erase(self) -> None:
        if self.has_bar:
            self.stream.write(CLEAR_LINE)
            self.stream.flush()
            self.has_bar = False

    def _draw(self) -> None:
        """The bar; the cursor goes back to its beginning, so that what a job says overwrites it."""
        if self.is_terminal and self.since and not self.has_ended and time.monotonic() >= self.next_drawing:
            begun = time.monotonic()
            width = os.get_terminal_size(self.stream.fileno()).columns or 80
            self.stream.write(f"{CLEAR_LINE}{self.status(width - 1)}\r")
            self.stream.flush()
            self.has_bar = True
            took = time.monotonic() - begun
            self.next_drawing = begun + PAUSE * took if took > LONG_DRAWING else 0.0

    def _tick(self) -> None:
        """Draw the bar again and again; without a terminal, say how far the run is when nothing was said for long.

        A file that vanishes meanwhile, or a terminal that does, costs one drawing.
        """
        while not self.ended.wait(SECONDS_BETWEEN_BARS if self.is_terminal else SECONDS_BETWEEN_LINES / 10):
            with self.lock or threading.Lock(), suppress(OSError, ValueError):
                if self.is_terminal:
                    self._draw()
                elif not self.has_ended and time.monotonic() - self.spoke > SECONDS_BETWEEN_LINES:
                    self._say(self.status())

    def status(self, width: int = 80) -> str:
        """One line: jobs done, and of the stage that has the most to do how far it is; a bar where there is room."""
        done = sum(state == "done" for state in self.states.values())
        words = f"{done:,} of {reasons.count(len(self.jobs), 'job')}"
        keys = {key for key, jobs in self.members.items() if any(self.states[job.name] == "running" for job in jobs)}
        plan = [job for key in keys for job in self.members[key]]
        states = {job.name: self.states[job.name] for job in plan}
        rows = watch.rows(plan, set(states), watch.Log(None, {}, states, self.since, [], False), set())
        if rows:
            row = max(rows, key=lambda each: (each.seconds_left or 0.0, each.stimuli or 0, each.stage))
            more = f" (+{len(rows) - 1})" if len(rows) > 1 else ""
            words += f"; {' '.join(filter(None, (row.stage, row.subject)))}{how_far(row)}{more}"
        room = min(BAR_WIDTH, width - len(words) - len("[] "))
        filled = room * done // max(1, len(self.jobs))
        return f"[{'=' * filled}{' ' * (room - filled)}] {words}" if room >= BAR_WIDTH // 3 else words[:width]


def how_far(row: watch.Row) -> str:
    """Of a stage that runs: its denoising step, if it is one job, or its stimuli, and the time left."""
    step = re.search(r"step \d+ of \d+ of images [\d-]+ of \d+", row.now)
    words = ""
    if step and row.jobs_running == 1:
        words = f": {step[0]}"
    elif row.stimuli:
        words = f": {row.stimuli_done:,} of {'at most ' * row.is_bound}{row.stimuli:,} stimuli"
    if row.seconds_left:
        words += f", {resource_usage.as_time(row.seconds_left / 3600)} left"
    return words
