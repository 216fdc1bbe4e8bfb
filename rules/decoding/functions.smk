"""Input and parameter functions of the rules of decoding."""


def alpha_of(wildcards):
    """The penalty of a feature's ridge."""
    return SETTINGS["ridge"]["alpha"][wildcards.feature]


def other_subjects(wildcards):
    """All subjects but one."""
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
