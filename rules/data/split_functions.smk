"""Input and parameter functions of the rules of further splits."""

import hashlib

from brain_diffuser.data import splits, stimulus_table
from brain_diffuser.data.adapter import fill_subject, only_file
from brain_diffuser.workflow import receipts


def subject_of(folder):
    """The subject that a folder of results belongs to, which for a further split or a test set is another folder's."""
    return cfg.folders.get(folder, (folder,))[0]


def settings_of_split(folder):
    """The settings of the further split that a folder of results has."""
    return cfg.named_splits[SPLIT_FOLDERS[folder][1]]


def n_stimuli(folder, split):
    """The number of stimuli of a split, or the largest possible number while that is not known."""
    if folder in TEST_FOLDERS and split == "test":
        kind, settings = test_set_of(folder)
        return kind.n_stimuli(cfg, subject_of(folder), settings)
    folder = trained_in(folder)
    if folder not in SPLIT_FOLDERS:
        return ADAPTER.n_stimuli(cfg, folder, split)
    path = Path(RESULTS, folder, "data/stimuli.tsv")
    if path.is_file() and (not workflow.is_main_process or split_is_current(folder)):
        return len(stimulus_table.read(path)[split].nsd_id)
    pool = [
        ADAPTER.n_stimuli(cfg, subject_of(folder), each) for each in ("train", "test")
    ]
    return splits.n_stimuli(sum(pool), settings_of_split(folder), split)


def split_is_current(folder):
    """Whether the table of a further split was made with the settings of today, of what is there today."""
    name = f"{receipts.ROOT}{folder}/data/stimuli.tsv"
    receipt = ARTIFACTS.by_name.get(name)
    wanted = repr(settings_that_choose(folder))
    return (
        receipt is not None
        and wanted in receipt.values
        and not ARTIFACTS.why_wrong(name)
    )


def settings_that_choose(folder):
    """The settings of a further split on which its table depends."""
    chosen = settings_of_split(folder)
    return {
        key: chosen[key]
        for key in sorted(chosen)
        if key not in ("images", *splits.KINDS[chosen["kind"]].files)
    }


def features_to_choose(wildcards):
    """The feature of all stimuli by which a further split chooses, if it reads one."""
    chosen = settings_of_split(wildcards.subject)
    if not splits.KINDS[chosen["kind"]].reads_feature:
        return []
    folder = f"<results>/{subject_of(wildcards.subject)}/features"
    return [f"{folder}/{chosen['feature']}_{split}.h5" for split in ("train", "test")]


def files_to_choose(wildcards):
    """The files by which a further split chooses."""
    folder = wildcards.subject
    _, name = SPLIT_FOLDERS[folder]
    chosen = settings_of_split(folder)
    keys = splits.KINDS[chosen["kind"]].files
    paths = {key: fill_subject(chosen[key], subject_of(folder)) for key in keys}
    return sum((source(f"splits.{name}.{key}", [paths[key]]) for key in keys), [])


def of_subject(path):
    """The input function of a file of the subject whose further split a folder has."""
    return lambda wildcards: path.format(
        **{**dict(wildcards.items()), "subject": subject_of(wildcards.subject)}
    )


def file_of_split(folder):
    """The file that says which stimuli the split of a folder has; empty if no file does."""
    folder = trained_in(folder)
    if folder not in SPLIT_FOLDERS:
        found = ADAPTER.inputs(cfg, "design", folder).get("split")
        return only_file(found.paths) if found else ""
    chosen = settings_of_split(folder)
    keys = splits.KINDS[chosen["kind"]].files
    return fill_subject(chosen[keys[0]], subject_of(folder)) if keys else ""


def label_of_split(folder):
    """The dataset as tables of a folder name it; of a split that a file defines, with the file's digest.

    Receipts of the table of stimuli have the whole digest.
    """
    path = Path(file_of_split(folder))
    if not path.is_file():
        return DATASET_LABEL
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{DATASET_LABEL.name}, split {path.name} (sha256 {digest[:12]})"
    return DATASET_LABEL._replace(name=name)
