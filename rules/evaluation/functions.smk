"""Input and parameter functions of the rules of evaluation."""

from brain_diffuser.evaluation import registry as evaluation_registry


def kinds_of(network):
    """How an evaluation network's metrics are computed."""
    metrics = evaluation_registry.SCORERS[network].metrics
    return [metric.kind for metric in metrics.values()]


def network_weights(networks):
    """The files of some evaluation networks; what is missing stops their metrics before any job, and no other stage."""
    paths = []
    for network in networks:
        of_network = evaluation_registry.network_files(
            network, cfg.metrics.protocol, PATHS.evaluation_networks, PATHS.clip
        )
        wrong = (not CONDA and evaluation_registry.package_problem(network)) or (
            evaluation_registry.file_problem(network, of_network, MADE)
        )
        if wrong:
            sys.exit(wrong)
        paths += of_network
    return local(paths)


def say_missing_packages():
    """Say which evaluation networks could not be loaded here, before hours of fetching; the run may be elsewhere."""
    for network in [] if CONDA else cfg.metrics.networks:
        wrong = evaluation_registry.package_problem(network)
        if wrong and workflow.is_main_process:
            print(f"Before the run: {wrong}", file=sys.stderr)


def perceptual_scores(sets):
    """The scores of some sets of images, as inputs scores_recon, scores_stage1, ...: one file for each scorer."""
    return {
        f"scores_{images}": [
            f"<results>/{{subject}}/perceptual_scores/{images}/{scorer}.csv"
            for scorer in SCORERS
        ]
        for images in sets
    }


# What tables call the split of results/{subject}, and the feature in which stimuli are near or far.
DEFAULT_SPLIT = "default"
SPACE_OF_DISTANCES = "clip_vision"


def folders_of_splits(subject):
    """The folders of results of all splits of a subject, the default one first."""
    return [subject, *(f"{subject}{splits.PART}{name}" for name in cfg.named_splits)]


def label_of_splits(subject):
    """The dataset as a table of all splits of a subject names it, with the file of every split that has one."""
    labels = [label_of_split(folder).name for folder in folders_of_splits(subject)]
    of_files = [label for label in dict.fromkeys(labels) if label != DATASET_LABEL.name]
    return "; ".join(of_files) or DATASET_LABEL.name


def stimulus_sources(folder):
    """The table that says where a subject's stimuli come from, if its dataset has one."""
    name = stimulus_table.SOURCES
    return f"{folder}/data/{name}" if name in ADAPTER.tables else []


def clusters_of_stimuli():
    """How stimuli are grouped: as the first split does that holds clusters out, or by the defaults of that kind."""
    keys = splits.KINDS["cluster"].keys
    found = [
        {key: section[key] for key in keys}
        for section in cfg.named_splits.values()
        if section["kind"] == "cluster" and section["feature"] in FEATURES
    ]
    return (found or [dict(keys)])[0]


def scaling_mb(wildcards):
    """The memory of scaling curves, MB: betas, targets, a kernel and its eigendecomposition."""
    n_train = n_stimuli(wildcards.subject, "train")
    n_columns = MOST_VOXELS + 6 * cfg.scaling.columns
    return spectrum_mb()(wildcards) + (n_train**2 + n_train * n_columns) * 8e-6


# Sets of images that are compared where reconstructions are tested for being spurious.
SETS_OF_SPURIOUS = ["recon", "stage1", *schema.BASELINES]


def features_of_clusters(wildcards):
    """The feature of all stimuli by which they are grouped, that of the subject to whom a further split belongs."""
    folder = f"<results>/{subject_of(wildcards.subject)}/features"
    feature = clusters_of_stimuli()["feature"]
    return [f"{folder}/{feature}_{split}.h5" for split in ("train", "test")]


def sources_of_subject(wildcards):
    """The table that says where stimuli come from, that of the subject to whom a further split belongs."""
    return stimulus_sources(f"<results>/{subject_of(wildcards.subject)}")


def of_splits(path):
    """A file of every further split whose test stimuli are reconstructed, of every subject."""
    return [
        path.format(subject=folder)
        for folder in SPLIT_FOLDERS
        if settings_of_split(folder)["images"]
    ]


def of_test_sets(path, has_words=False):
    """A file of every test set whose targets are reconstructed; of sets of words only where they will do."""
    return [
        path.format(subject=folder)
        for folder in TEST_FOLDERS
        if test_set_of(folder)[1]["images"]
        and (has_words or not test_set_of(folder)[1]["words"])
    ]


def scored_test_sets():
    """The folders of scores of all test sets."""
    return [
        f"<results>/{folder}/test_set"
        for folder in TEST_FOLDERS
        if not test_set_of(folder)[1]["words"]
    ]


def set_to_compare_with():
    """{set of images: the one it is compared with}: a guided one with that without guidance, others with recon."""
    listed = cfg.significance.images
    unguided = {name: cfg.unguided_of(name) for name in cfg.guided}
    against = {
        name: unguided.get(name) or "recon" for name in listed if name != "recon"
    }
    return {name: other for name, other in against.items() if other in listed}


def pairs_of_test_set(wildcards, by_name=False):
    """The pair scores of a test set's images, {pairs_recon: paths}, or {recon: paths}; nothing without images."""
    if not test_set_of(wildcards.subject)[1]["images"]:
        return {}
    folders = PAIR_SCORES.replace("{subject}", wildcards.subject)
    return {
        (images if by_name else f"pairs_{images}"): [
            folders.replace("{images}", images) + scorer for scorer in SCORERS
        ]
        for images in SCORED_IMAGES
    }


def notes_of_test_set(wildcards):
    """What readers of a test set's scores should know of how it was read."""
    settings = test_set_of(wildcards.subject)[1]
    what = f"Betas: z-score {settings['zscore']}"
    if "condition" in settings:
        what += f"; condition {settings['condition']}"
    if cfg.ridge.rescale == "test":
        what += "; ridge.rescale is test, and test sets take train_oof, for they have few targets"
    return f"{what}."


# What samples are chosen by, in words; and the metrics of the network by which both choosers see samples.
CHOSEN_BY = {
    "decoded": "cosine with the decoded CLIP-vision embedding",
    "predicted_betas": "correlation of predicted and measured betas",
}
SEEN_BY_CHOOSERS = [*evaluation_registry.SCORERS["clip"].metrics]


def choice_of(wildcards):
    """How a variant chooses; one that does not is a LookupError, which `of_shards` explains."""
    if wildcards.variant not in SAMPLES:
        raise LookupError(f"{wildcards.variant} does not choose")
    return cfg.variants[wildcards.variant].choose


def samples_of_variant(wildcards):
    """The images of all samples of a variant that chooses, and what its chooser sees of them."""
    by = choice_of(wildcards).by
    if by == "predicted_betas" and wildcards.subject in TEST_FOLDERS:
        stop(
            f"config.yaml: variants.{wildcards.variant}.choose.by is predicted_betas, which {wildcards.subject} does not have: "
            "betas are predicted for the subject's own test stimuli; use decoded for this folder"
        )
    kind = {"decoded": "clip_vision", "predicted_betas": "betas"}[by]
    below = f"<results>/{wildcards.subject}"
    names = SAMPLES[wildcards.variant]
    folders = [folder(each).format(subject=wildcards.subject) for each in names]
    return {
        "images": folders,
        "manifests": [f"{each}_manifest.tsv" for each in folders],
        "samples": [f"{below}/encoding/{each}_{kind}.h5" for each in names],
    }


def what_chooses(wildcards):
    """What samples are compared with: the decoded embeddings, or measured betas and their mean and spread."""
    if choice_of(wildcards).by == "decoded":
        return [feature_of_variant(wildcards, "clip_vision", is_true=False)]
    below = f"<results>/{wildcards.subject}"
    return [f"{below}/data/betas_test.h5", f"{below}/ridge/kernel.h5"]


def scores_of_samples(wildcards):
    """The scores of all samples of a variant that chooses, one input for each."""
    below = f"<results>/{wildcards.subject}/perceptual_scores"
    return {
        f"scores_{number}": [f"{below}/{images}/{scorer}.csv" for scorer in SCORERS]
        for number, images in enumerate(SAMPLES[wildcards.variant])
    }


def title_of_choice(wildcards):
    """What the table of a choice is called."""
    about = f"{wildcards.variant}: the best of {choice_of(wildcards).of} samples"
    return f"{DATASET_LABEL.name}, {wildcards.subject}, {about}"
