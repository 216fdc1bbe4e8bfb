"""Input and parameter functions of the rules of test sets."""

from brain_diffuser.data import test_sets

OF_TEST_SETS = "|".join(TEST_FOLDERS) or "none"


def test_set_of(folder):
    """The kind and the settings of the test set that a folder of results has."""
    settings = cfg.named_test_sets[TEST_FOLDERS[folder][1]]
    return test_sets.KINDS[settings["kind"]], settings


def trained_in(folder):
    """The folder of what a decoder was trained on: of a test set it is the subject's."""
    return TEST_FOLDERS.get(folder, (folder,))[0]


def of_training(path):
    """The input function of what a decoder was trained on."""
    return lambda wildcards: path.format(
        **{**dict(wildcards.items()), "subject": trained_in(wildcards.subject)}
    )


def has_no_captions(folder, feature):
    """Whether a feature is that of captions, which the stimuli of a folder do not have."""
    return folder in TEST_FOLDERS and FEATURE_RECORDS[feature].reads == "captions"


def test_set_sources(stage):
    """The input function of what a stage reads of a test set, by name."""

    def files(wildcards):
        kind, settings = test_set_of(wildcards.subject)
        with exit_with_message():
            named = kind.inputs(cfg, stage, subject_of(wildcards.subject), settings)
        return {
            name: source(each.key, each.paths)
            for name, each in named.items()
            if each.paths
        }

    return files


def test_set_betas_file(wildcards):
    """The file of a test set's betas: the one that a rule writes, or the first that is there."""
    kind, settings = test_set_of(wildcards.subject)
    paths = kind.betas_files(cfg, subject_of(wildcards.subject), settings)
    written = [path for path in paths if Path(path).as_posix() in MADE]
    there = [path for path in paths if Path(path).is_file()]
    return source(f"datasets.{cfg.dataset}.nsd", [(written or there or paths)[0]])


def test_set_settings(*left_out):
    """The settings of a test set, without those on which a stage's artifacts do not depend."""

    def of(wildcards):
        _, settings = test_set_of(wildcards.subject)
        return {
            key: settings[key]
            for key in sorted(settings)
            if key not in ("images", *left_out)
        }

    return of


def kind_of_test_set(wildcards):
    """The kind of a test set."""
    return test_set_of(wildcards.subject)[1]["kind"]
