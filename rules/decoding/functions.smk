"""Input and parameter functions of the rules of decoding."""

import errno

from brain_diffuser.decoding import alpha_table, ridge_memory

# Of a whole-brain mask of 1.8 mm, such as NSD's nsdgeneral; the mask itself may be made by the run that is planned.
MOST_VOXELS = 16000


# The table with the chosen penalty, below a folder of results.
ALPHA_TABLE = "{folder}/{subject}/ridge/alpha_{feature}.csv"


# Folders of results with training stimuli: those of subjects and of further splits.
TRAINED = "|".join(
    (*cfg.subjects, *(each for each in SPLIT_FOLDERS if each not in TEST_FOLDERS))
)


def is_auto(feature):
    """Whether the penalty of a feature's ridge is chosen by leave-one-out."""
    return SETTINGS["ridge"]["alpha"][feature] == alpha_table.AUTO


def chosen_alpha(feature=None):
    """The input function of the table with a feature's penalty; nothing if that is a number in config.yaml.

    The feature is that of the wildcards, if none is given.
    """

    def of(wildcards):
        name = feature or wildcards.feature
        if not is_auto(name):
            return []
        if STORAGE is not None:
            stop(
                f"config.yaml: ridge.alpha.{name} is {alpha_table.AUTO}, which is not supported where results lie in a "
                "storage; write the number that a run on a disk has chosen"
            )
        return ALPHA_TABLE.format(
            folder="<results>", subject=trained_in(wildcards.subject), feature=name
        )

    return of


def alpha_of(wildcards, feature=None):
    """The penalty of a feature's ridge: the number in config.yaml, or the chosen one.

    Where it has yet to be chosen the table is missing, which Snakemake takes for a parameter that is still to come. So it
    takes a table that is damaged, which is made again first, as every altered artifact.
    """
    name = feature or wildcards.feature
    if not is_auto(name):
        return SETTINGS["ridge"]["alpha"][name]
    path = ALPHA_TABLE.format(
        folder=RESULTS, subject=trained_in(wildcards.subject), feature=name
    )
    try:
        return alpha_table.chosen(path)
    except ValueError:
        if workflow.is_main_process:
            raise FileNotFoundError(errno.ENOENT, "damaged", path) from None
        raise


def alphas_to_show(ending):
    """The tables or plots of all penalties that were chosen for features which every run predicts."""
    path = ALPHA_TABLE.removesuffix(".csv") + ending
    return [
        path.format(folder="<results>", subject=subject, feature=feature)
        for subject in cfg.subjects
        for feature in FEATURES
        if is_auto(feature)
    ]


def rescale_of(wildcards):
    """How predictions are rescaled: by statistics of training stimuli where the few targets of a test set would tell."""
    is_of_test = wildcards.subject in TEST_FOLDERS and cfg.ridge.rescale == "test"
    return "train_oof" if is_of_test else cfg.ridge.rescale


def other_subjects(wildcards):
    """All subjects but one. A further split has none: what it holds out may have trained their decoders."""
    if wildcards.subject in SPLIT_FOLDERS:
        return []
    return [subject for subject in cfg.subjects if subject != wildcards.subject]


def of_other_subjects(path):
    """The input function of a file of every other subject."""
    return lambda wildcards: [
        path.format(subject=subject, feature=wildcards.feature)
        for subject in other_subjects(wildcards)
    ]


def pretrained(wildcards):
    """The decoder that was trained on all other subjects, if there are any and learned.pretrain is true."""
    if not cfg.learned.pretrain or not other_subjects(wildcards):
        return []
    return "<results>/shared/learned/{feature}/without_{subject}/weights.safetensors"


def kernel_mb(n_columns):
    """The memory of a ridge kernel by its shape, MB; a function of the wildcards."""

    def of(wildcards):
        counts = (n_stimuli(wildcards.subject, split) for split in ("train", "test"))
        itemsize = {"float32": 4, "float64": 8}[cfg.ridge.precision]
        return 500 + ridge_memory.of_kernel(*counts, n_columns, itemsize) * 1.2e-6

    return of


def spectrum_mb(n_more=0):
    """The memory of a kernel's eigendecomposition and of more columns for each train stimulus, MB; as kernel_mb."""

    def of(wildcards):
        n_train = n_stimuli(wildcards.subject, "train")
        itemsize = {"float32": 4, "float64": 8}[cfg.ridge.precision]
        needed = ridge_memory.of_spectrum(n_train, MOST_VOXELS, itemsize)
        return 500 + (needed + n_more * n_train * itemsize) * 1.2e-6

    return of
