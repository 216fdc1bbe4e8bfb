"""What the report calls sets of images, features, metrics and the columns of tables; a name it does not know stays."""

from collections.abc import Iterable

from brain_diffuser.reporting import score_tables

IMAGES = {
    **score_tables.LABELS,
    "recon": "reconstruction",
    "vdvae": "stimulus through the VDVAE",
    "autoencoder": "stimulus through the autoencoder",
    "nearest_training": "best training image, by the decoded feature",
    "nearest_training_oracle": "best training image, by the true feature (oracle)",
    "neuraldiffuser": "NeuralDiffuser",
    "neuraldiffuser_true": "NeuralDiffuser, true features",
    "neuraldiffuser_shuffled": "NeuralDiffuser, another stimulus' features",
}
"""Of sets of images; a variant that is not among them is called as config.yaml calls it."""
WHAT_IMAGES_ARE = {
    "stage1": "what the VDVAE makes of the decoded latents",
    "recon": "the final image, by a diffusion model from stage 1 and decoded CLIP embeddings",
    "mean_image": "one image for all stimuli, without a brain",
    "vdvae": "the best that stage 1 could do, without a brain",
    "autoencoder": "the best that the diffusion model's autoencoder could do, without a brain",
    "true_features": "as the reconstruction, from features of the stimulus itself",
    "without_vdvae": "from noise in place of stage 1",
    "without_text": "without the decoded captions' embedding",
    "without_vision": "without the decoded image embedding",
}
FEATURES = {
    "vdvae": "VDVAE latents",
    "clip_text": "CLIP-text embedding",
    "clip_vision": "CLIP-vision embedding",
    "clip_layers": "CLIP layer activations",
    "sd_text": "Stable Diffusion's text embedding",
    "clip_h_pooled": "CLIP-H image embedding, pooled",
    "clip_h_tokens": "CLIP-H image embedding, tokens",
    "sdxl_text": "Stable Diffusion XL's text embedding",
    "sdxl_pooled": "Stable Diffusion XL's text embedding, pooled",
    "sdxl_prompt": "Stable Diffusion XL's text embeddings",
}
"""Of decoded features, by their names in the registry of features."""
METRICS = {
    "pix_corr": "correlation of all pixels",
    "ssim": "structural similarity of grey pixels",
    "alexnet_2": "second layer of AlexNet",
    "alexnet_5": "fifth layer of AlexNet",
    "inception": "last layer of Inception-v3",
    "clip": "CLIP's image embedding",
    "efficientnet_b1": "features of EfficientNet-B1",
    "efficientnet_lite0": "features of EfficientNet-Lite0",
    "efficientnet_lite0_distance": "features of EfficientNet-Lite0",
    "swav": "features of SwAV",
}
"""What a metric looks at."""
KINDS = {
    "two_way": "how often the image is nearer to its own stimulus than to another one, by {of}",
    "distance": "correlation distance, {of}",
    "similarity": "{of}",
}
"""What a metric is, by its kind."""
MEASURES = {
    "two_way": "two-way identification",
    "between_repeats": "between repeats",
    "with_stimulus": "with the stimulus, mean of repeats",
    "worst": "with the stimulus, worst repeat",
    "spread": "standard deviation over repeats",
}
VALUES = {
    "retrieved": {"image": "image, by its prediction", "brain": "prediction, by its image"},
    "curve": {
        "bottleneck": "best dimensions for all features",
        "voxel_pca": "principal components of the betas",
        "ridge": "all dimensions",
        "random": "noise betas",
        "ceiling": "true features",
    },
    "axis": {
        "all": "all data",
        "stimuli": "training stimuli",
        "repeats": "repeats of each",
        "sessions": "length of the recording",
    },
}
"""Words for the values of some columns."""
COLUMNS = {
    "nsd_id": "stimulus",
    "n": "test stimuli",
    "columns": "numbers",
    "quartile_1": "first quartile",
    "quartile_3": "third quartile",
    "ceiling": "noise ceiling",
    "retrieved": "what is found",
    "pool": "candidates",
    "draws": "draws of them",
    "top_1": "found first",
    "sd_over_draws": "SD over draws",
    "p_corrected": "p, corrected",
    "least_p": "smallest possible p",
    "counted": "permutations",
    "by_chance": "by chance",
    "by_group_alone": "by knowing the set alone",
    "mean_under_other": "mean under the other split",
    "other_split": "other split",
    "per_doubling": "gain for twice the data",
    "r2": "R² of the fit",
    "rank": "dimensions",
    "normalised": "from noise (0) to true features (1)",
    "participation_ratio": "participation ratio",
    "first": "own stimulus first",
    "scores_of": "scores of",
    "from_distance": "distance from",
    "to_distance": "distance to",
    "gain_elsewhere": "gain on other sources",
    "nearest_training": "best training image, decoded",
    "oracle": "best training image, oracle",
    "test_stimuli": "test stimuli",
    "recognised_in_stimuli": "recognised in stimuli",
    "recognised_in_reconstructions": "recognised in reconstructions",
    "voxelwise_median": "median over voxels",
    "alone_random": "as many random voxels alone",
    "without_random": "without as many random voxels",
    "drop": "change of d' by the lesion",
    "drop_random": "the same of as many random voxels",
}
"""Heads of columns."""
SETS_OF_IMAGES = ("images", "against", "scores_of", "protocol")
"""Columns whose cells are sets of images, or protocols."""


def images(name: str) -> str:
    """A set of images, or a protocol, in words; one that is not known keeps its name."""
    return IMAGES.get(name, name)


def feature(name: str) -> str:
    """A decoded feature in words; one that is not known keeps its name."""
    return FEATURES.get(name, name)


def metric(name: str, metrics: score_tables.Metrics) -> str:
    """The label of a metric; of what is no metric, its name."""
    return metrics[name][0] if name in metrics else name


def about_metric(name: str, metrics: score_tables.Metrics) -> str:
    """What a metric measures, in a few words; nothing of one without words here."""
    of = METRICS.get(name, "")
    return KINDS[metrics[name][1]].format(of=of) if of and name in metrics else ""


def column(name: str, metrics: score_tables.Metrics) -> str:
    """The head of a column: words for it, the label of a feature, set of images or metric, or the column's own name."""
    feature_name, _, other = name.partition("_minus_")
    if other:
        return f"{feature(feature_name)} less {feature(other)}"
    of, _, last = name.rpartition("_")
    if last == "sem":
        return f"{column(of, metrics)}: standard error"
    return COLUMNS.get(name) or FEATURES.get(name) or IMAGES.get(name) or metric(name, metrics)


def cell(name: str, column_name: str, metrics: score_tables.Metrics) -> str:
    """A cell that is no number: words for a set of images, a feature, a metric or a measure where it is one."""
    if column_name in SETS_OF_IMAGES:
        return images(name)
    if column_name == "feature":
        return feature(name)
    if column_name in ("metric", "features"):
        return metric(name, metrics)
    if column_name == "measure":
        return MEASURES.get(name) or (f"among the nearest {name[4:]}" if name.startswith("top_") else name)
    return VALUES.get(column_name, {}).get(name, name)


def counted(counts: Iterable[int]) -> str:
    """A count, or the lowest and the highest of those of several subjects: 982, or 930 to 982."""
    ends = sorted(set(counts))
    return f"{ends[0]:,} to {ends[-1]:,}" if len(ends) > 1 else f"{ends[0]:,}"
