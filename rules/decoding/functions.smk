"""Input and parameter functions of the rules of decoding."""

from brain_diffuser.decoding import ridge_memory

# Of a whole-brain mask of 1.8 mm, such as NSD's nsdgeneral; the mask itself may be made by the run that is planned.
MOST_VOXELS = 16000


def alpha_of(wildcards):
    """The penalty of a feature's ridge."""
    return SETTINGS["ridge"]["alpha"][wildcards.feature]


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
