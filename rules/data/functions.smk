"""Input and parameter functions of the rules of the data."""

from brain_diffuser.data import custom
from brain_diffuser.workflow import source_files

MADE = set()  # files of datasets that rules write or fetch, which need not be there


@functools.cache
def look_for(key, path):
    """Stop with one sentence if a file or folder is missing; each is looked for once."""
    wrong = source_files.problem(key, Path(path).as_posix(), MADE)
    if wrong:
        stop(wrong)


def source(key, paths):
    """One path or several that a key of the configuration leads to, read by a job and made by none.

    For input functions alone. Snakemake drops a job whose input is missing if its output exists, and passes over errors
    of input functions there, but not over the end of the process. Other targets never ask.
    """
    for path in [paths] if isinstance(paths, str) else paths:
        look_for(key, path)
    return local(paths)


def source_of(key, paths):
    """The input function of what a key of the chosen dataset leads to."""
    return lambda wildcards: source(f"datasets.{cfg.dataset}.{key}", paths)


def sources(stage):
    """The input function of what a stage reads of the dataset, by name."""

    def files(wildcards):
        named = ADAPTER.inputs(cfg, stage, subject_of(wildcards.subject))
        return {
            name: source(each.key, each.paths) if each.key else each.paths
            for name, each in named.items()
        }

    return files


def adapter_settings(stage):
    """The values that a stage's artifacts depend on."""
    return lambda wildcards: ADAPTER.job_settings(
        cfg, stage, subject_of(wildcards.subject)
    )


def mask_files(subject):
    """The masks of one's own that a subject's regions are made of."""
    subject, paths = subject_of(subject), []
    for name, definition in cfg.regions.items():
        path = rois.mask_file(definition, subject)
        if path and not path.is_file():
            wrong = "is a folder" if path.is_dir() else "does not exist"
            fix = source_files.hint(
                path, otherwise="put a volume there or correct the path"
            )
            stop(f"config.yaml: roi.regions.{name} reads {path}, which {wrong}; {fix}")
        paths += [str(path)] if path else []
    return local(paths)


def shown_stimuli(folder):
    """The test stimuli that pages show; grey images stand for them where the dataset's stimuli are not to be shown."""
    return f"{folder}/stimuli{'' if PATHS.show_stimuli else '_stand_ins'}_test.h5"


def stim_files(folder):
    """The table of the names of a subject's image files, if its dataset has such files."""
    name = custom.STIM_FILES
    return f"{folder}/data/{name}" if name in ADAPTER.tables else []
