"""What the main process checks, says and starts beside its jobs."""

from brain_diffuser.workflow import fetch, watch

if workflow.is_main_process and cfg.recon.only != chosen.ALL:
    with exit_with_message():
        for subject in of_targets or cfg.subjects:
            chosen.check(cfg, subject, "a target" if of_targets else chosen.SETTING)
if workflow.is_main_process and cfg.nsd.sessions == "all":
    with exit_with_message():
        dataset_record.check_sessions(Path(RESULTS), SESSIONS)


def write_dataset():
    """Write down which dataset the folder of results belongs to, and what later runs have to agree with."""
    numbers = {subject: read for subject, read in SESSIONS.items() if read}
    if TERMS:
        print(
            f"The report and contact sheets will show stimuli, and {TERMS}; datasets.{cfg.dataset}.show_stimuli: false "
            "leaves them out",
            file=sys.stderr,
        )
    if SETTLED.get("compute.dtype") == "bfloat16" and not BEGUN_WITH:
        print(plan.BFLOAT16_IS_CHOSEN, file=sys.stderr)
    dataset_record.write(Path(RESULTS), DATASET, numbers, SETTLED, STORAGE is None)


# Of a module Snakemake runs no onstart.
if IS_MODULE and workflow.is_main_process and ARTIFACTS.by_name:
    write_dataset()


def check_targets():
    """Stop with one sentence if a file is asked for that no job makes, or none alone."""

    def is_made(path):
        return any(rule.is_producer(path) for rule in workflow.rules)

    def is_made_folder(path):
        outputs = (
            each
            for rule in workflow.rules
            if rule.is_producer(path)
            for each in rule.output
        )
        return any(getattr(each, "flags", {}).get("directory") for each in outputs)

    with exit_with_message():
        for target in sys.argv[1:]:
            if target.startswith(f"{RESULTS}/") and target not in INSTEAD:
                targets.check_whole(target, is_made, is_made_folder)
                outputs = [str(each) for rule in workflow.rules for each in rule.output]
                if STORAGE is None:  # of a storage, outputs have its address
                    targets.check_made(target, RESULTS, is_made, outputs)


def given_settings():
    """What --config was given, without what a run hands on to its jobs."""
    given = workflow.config_settings.config_args
    return [each for each in given if not each.startswith(f"{plan.KEY}=")]


def give_over(module, *arguments):
    """Give this process over to a command of the package, with the cores and configuration files of this run."""
    files = [str(file) for file in workflow.config_settings.configfiles]
    command = [sys.executable, "-m", module, "--cores", str(workflow._cores or "all")]
    command += ["--configfile", *files] if files else []
    os.execv(sys.executable, [*command, *arguments])


def rehearse():
    """Give this process over to the rehearsal, which starts Snakemake by itself."""
    if given_settings():
        stop(
            "a rehearsal takes its settings from files; put what --config says into a file of --configfile"
        )
    give_over("brain_diffuser.rehearsal")


def estimate():
    """Give this process over to the estimate of the other targets, or of all if there are none."""
    given = given_settings()
    others = [target for target in sys.argv[1:] if target.startswith(f"{RESULTS}/")]
    give_over(
        "brain_diffuser.estimate",
        *(["--config", *given] if given else []),
        *(["--forceall"] if {"--forceall", "-F"} & {*sys.argv} else []),
        *(["--", *others] if others else []),
    )


def closing_lines():
    """What was asked for, and the report: a line for each subject that has images or scores to look at, or the targets."""
    asked = sorted(map(str, workflow.dag_settings.targets))
    if asked and asked != ["all"]:
        yield f"dataset {cfg.dataset}: made {', '.join(asked)}"
    else:
        yield from image_locations()
    page = Path(RESULTS, "report.html")
    if STORAGE is None and page.exists():
        yield f"report: {page}"


def image_locations():
    """One line for each subject that has images or scores to look at."""
    for subject in cfg.subjects:
        folder = Path(RESULTS, subject)
        if cfg.recon.only != chosen.ALL:
            folder /= "chosen"
        if (folder / "recon").is_dir():
            names = ("recon", "contact_sheet.png", "metrics/scores.md")
            paths = (folder / name for name in names)
            listed = ", ".join(str(path) for path in paths if path.exists())
            yield f"dataset {cfg.dataset}, {subject}: images in {listed}"
