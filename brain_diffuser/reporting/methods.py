"""The methods of a run as a text to paste into a paper: written from its settings, with citations and their list."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import stimulus_table
from brain_diffuser.reporting import references
from brain_diffuser.workflow import provenance

FEATURES = {"vdvae": "VDVAE", "clip_text": "CLIP-text", "clip_vision": "CLIP-vision"}
NETWORKS = {
    "alexnet": "AlexNet [@krizhevsky2012]",
    "inception": "Inception-v3 [@szegedy2016]",
    "clip": "CLIP [@radford2021]",
    "efficientnet_b1": "EfficientNet-B1 [@tan2019]",
    "efficientnet_lite0": "EfficientNet-Lite0 [@tan2019]",
    "swav": "SwAV [@caron2020]",
}
SAMPLERS = {"ddim": "DDIM [@song2021]", "dpmpp_2m": "DPM-Solver++ (2M) [@lu2022]"}
RESCALED = {
    "train_oof": "Predictions were rescaled to the mean and standard deviation of the training features by the "
    "statistics of leave-one-out predictions of the training stimuli, so that no test stimulus entered the "
    "rescaling.",
    "test": "Predictions of the test stimuli were z-scored over the test stimuli and rescaled to the mean and standard "
    "deviation of the training features.",
    "none": "Predictions were not rescaled.",
}
DATASETS = {
    "nsd": "We used the Natural Scenes Dataset [@allen2022], in which subjects viewed images of COCO [@lin2014] at 7 "
    "T. "
    "Responses were the published single-trial betas ({betas}) [@allen2022; @prince2022] in percent signal change, "
    "within "
    "the published region {mask} in functional space of 1.8 mm.",
    "haxby": "We used the fMRI recording of Haxby et al. [@haxby2001], one response for each block of stimuli, "
    "z-scored within runs; images of the categories stand in for the stimuli that were shown.",
    "bold5000": "We used BOLD5000 [@chang2019] and its published single-trial responses.",
    "laion_fmri": "We used LAION-fMRI and its published single-trial responses.",
    "own": "Subjects, stimuli, acquisition and the estimation of single-trial responses: [describe them here; the "
    "configuration does not know them].",
}
DEMO = (
    "DEMO: the brain responses are simulated and the networks are small ones that were trained on generated scenes. "
    "These results are not scientific and say nothing about brains."
)


class Subject(NamedTuple):
    """What a text says of a subject.

    Parameters
    ----------
    name : str
    n_train, n_test : int
        Stimuli.
    repeats : (fewest, most)
        Of a stimulus, in both splits.
    n_voxels : int
    n_sessions : int
        0 if the dataset does not count them.
    alphas : {feature: penalty}
        Those of the ridge.
    """

    name: str
    n_train: int
    n_test: int
    repeats: tuple[int, int]
    n_voxels: int
    n_sessions: int
    alphas: Mapping[str, float]


class Facts(NamedTuple):
    """What the methods are written from.

    Parameters
    ----------
    settings : mapping
        The sections of config.yaml.
    adapter : str
        How the dataset is read, a name of the registry of adapters.
    is_simulated : bool
        Whether brain responses are simulated.
    disclaimer : str
        What the dataset says of itself, such as that proxy stimuli were used.
    subjects : sequence of Subject
    versions : {package: version}
        Software that made the results.
    program : str
        The version of this project.
    networks : {evaluation network: kinds of its metrics}
        Of metrics.networks, as the registry of metrics has them.
    has_tests : bool
        Whether permutation tests are among the results.
    """

    settings: Mapping[str, Any]
    adapter: str
    is_simulated: bool
    disclaimer: str
    subjects: Sequence[Subject]
    versions: Mapping[str, str]
    program: str
    networks: Mapping[str, Sequence[str]]
    has_tests: bool = False


def subject(folder: Path, n_sessions: int = 0) -> Subject:
    """What a text says of a subject, from the folder with its results.

    It reads `data/stimuli.tsv`, the shape of `data/betas_test.h5`, and the penalties in `ridge/{feature}_test.h5`.

    Raises FileNotFoundError, ValueError: one of these is missing or damaged.
    """
    splits = stimulus_table.read(folder / "data/stimuli.tsv")
    repeats = [len(trials) for split in splits.values() for trials in split.trials]
    with hdf5.reading(folder / "data/betas_test.h5") as (values, _):
        n_voxels = values.shape[1]
    alphas = {}
    for feature in FEATURES:
        with hdf5.reading(folder / f"ridge/{feature}_test.h5") as (values, _):
            alphas[feature] = float(hdf5.about(values)["made_by"]["alpha"])
    n_train, n_test = (len(splits[split].nsd_id) for split in ("train", "test"))
    return Subject(folder.name, n_train, n_test, (min(repeats), max(repeats)), n_voxels, n_sessions, alphas)


def text(facts: Facts) -> str:
    """The methods of a run in Markdown: paragraphs to paste into a paper, and the list of what they cite.

    Everything in it follows from settings and results; what these do not know stands in square brackets.
    """
    paragraphs = [*_paragraphs(facts._replace(settings=provenance.with_added(facts.settings)))]
    cited = sorted({key for each in paragraphs for key in re.findall(r"@(\w+)", each)})
    body = "\n\n".join(references.cite(each) for each in paragraphs)
    listed = (f"- {references.REFERENCES[key]}" for key in cited)
    return "\n".join(("# Methods", "", body, "", "## References", "", *listed, ""))


def _paragraphs(facts: Facts) -> Iterator[str]:
    if facts.is_simulated:
        yield f"**{DEMO}**"
    elif facts.disclaimer:
        yield f"**{facts.disclaimer[:1].upper()}{facts.disclaimer[1:]}.**"
    yield f"**Data.** {' '.join(_data(facts))}"
    yield f"**Decoding.** {' '.join(_decoding(facts))}"
    yield f"**Reconstruction.** {' '.join(_reconstruction(facts.settings))}"
    yield f"**Evaluation.** {' '.join(_evaluation(facts))}"
    yield f"**Software.** {_software(facts)}"


def _data(facts: Facts) -> Iterator[str]:
    nsd = facts.settings.get("nsd", {})
    if facts.is_simulated:
        yield "Responses were simulated from features of generated scenes and written in the layout of the Natural"
        yield "Scenes Dataset [@allen2022]."
    else:
        yield DATASETS.get(facts.adapter, DATASETS["own"]).format(betas=nsd.get("betas", ""), mask=nsd.get("mask", ""))
    for subject in facts.subjects:
        fewest, most = subject.repeats
        times = f"{most} time{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} times"
        sessions = f", of {subject.n_sessions} session{'s' * (subject.n_sessions > 1)}" if subject.n_sessions else ""
        yield (
            f"{subject.name}: {subject.n_train:,} training and {subject.n_test:,} test stimuli, each shown "
            f"{times}{sessions}; {subject.n_voxels:,} voxels."
        )
    yield "Responses to repeats of a stimulus were averaged, in the training and in the test set."


def _decoding(facts: Facts) -> Iterator[str]:
    settings = facts.settings
    posterior = settings["features"]["vdvae"]["posterior"]
    latents = "posterior means" if posterior == "mean" else "samples of the posterior"
    yield (
        "Following Brain-Diffuser [@ozcelik2023], three features of every stimulus were decoded from its responses: "
        f"the leading latents of a very deep variational autoencoder (VDVAE; {latents}) [@child2021], and the token "
        "embeddings of CLIP [@radford2021] for the stimulus image (CLIP-vision) and, averaged over them, for its "
        "captions (CLIP-text)."
    )
    yield (
        "Responses of each voxel were z-scored with its mean and standard deviation over the training stimuli, test "
        "responses with the same numbers. A ridge regression [@hoerl1970] was fitted for each subject and feature."
    )
    yield _penalties(facts)
    yield RESCALED[settings["ridge"]["rescale"]]


def _penalties(facts: Facts) -> str:
    """Which penalties the ridge has, and how those that were chosen were chosen."""
    given = facts.settings["ridge"]["alpha"]
    is_auto = any(given.get(feature) == "auto" for feature in FEATURES)
    sets = [{feature: each.alphas[feature] for feature in FEATURES} for each in facts.subjects]
    same = all(each == sets[0] for each in sets)
    rows = [", ".join(f"{FEATURES[feature]} {alpha:,g}" for feature, alpha in each.items()) for each in sets]
    listed = (
        rows[0] if same else "; ".join(f"{each.name}: {row}" for each, row in zip(facts.subjects, rows, strict=True))
    )
    if not is_auto:
        return f"Penalties were {listed}."
    return (
        "Penalties were chosen by leave-one-out correlation over the training stimuli, from "
        f"{facts.settings['ridge']['auto']['per_decade']} a factor of ten: {listed}."
    )


def _reconstruction(settings: Mapping[str, Any]) -> Iterator[str]:
    stage1, recon = settings["stage1"], settings["recon"]
    pixels = "the modes" if stage1["pixel_likelihood"] == "mode" else "samples"
    factor = "" if stage1["temperature"] in (1, 1.0, None) else f" at temperature {stage1['temperature']:g}"
    yield (
        "In the first stage the VDVAE decoded the predicted latents; the other latents were drawn from its "
        f"prior{factor}, and pixels were {pixels} of its output distribution."
    )
    taken = int(recon["steps"] * recon["strength"])
    yield (
        "In the second stage the stage-1 image, encoded and noised, was denoised [@meng2022] by Versatile Diffusion "
        f"[@xu2023], conditioned on the decoded CLIP-text (weight {recon['text_weight']:g}) and CLIP-vision "
        f"({1 - recon['text_weight']:g}) embeddings, with classifier-free guidance [@ho2022] of scale "
        f"{recon['guidance_scale']:g}. {SAMPLERS[recon['sampler']]} took the last {taken} of "
        f"{recon['steps']} steps (strength {recon['strength']:g})."
    )
    yield (
        f"Random numbers of each image depend on a seed ({stage1['seed']} in the first stage, {recon['seed']} in the "
        "second) and on the stimulus alone; one image was made for each stimulus and none was selected."
    )


def _evaluation(facts: Facts) -> Iterator[str]:
    metrics = facts.settings["metrics"]
    protocol = metrics["protocol"]
    how = "as in Brain-Diffuser [@ozcelik2023]" if protocol == "brain_diffuser" else "as in MindEye2 [@scotti2024]"
    two_way, distance = (_networks(facts.networks, kind) for kind in ("two_way", "distance"))
    by = ["by the Pearson correlation of pixels and structural similarity (SSIM) [@wang2004]"]
    if two_way:
        by.append(f"by two-way identification among all test stimuli (chance 50 %), with features of {two_way}")
    if distance:
        by.append(f"by the correlation distance of features of {distance}")
    yield f"Every test reconstruction was compared with its stimulus, prepared {how}: {'; '.join(by)}."
    yield (
        f"Intervals are 95 % bootstrap intervals over test stimuli ({metrics['bootstrap']:,} resamples). The "
        "chance-level control pairs every reconstruction with another stimulus."
    )
    if facts.has_tests:
        tests = facts.settings["significance"]
        correction = (
            "Holm's method [@holm1979]"
            if tests["correction"] == "holm"
            else "the false discovery rate [@benjamini1995]"
        )
        yield (
            f"Scores were tested against {tests['permutations']:,} permutations of images among stimuli, within "
            f"subjects [@phipson2010], and corrected by {correction}."
        )


def _software(facts: Facts) -> str:
    compute = facts.settings.get("compute", {})
    dtype = f" Networks ran in {compute['dtype']}." if compute.get("dtype") not in (None, "auto") else ""
    listed = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    with_others = f", with {listed}" if listed else ""
    return f"brain-diffuser-dag {facts.program}, a Snakemake workflow [@molder2021]{with_others}.{dtype}"


def _networks(networks: Mapping[str, Sequence[str]], kind: str) -> str:
    """The evaluation networks with a metric of a kind, in words."""
    return _listed([NETWORKS.get(name, name) for name, kinds in networks.items() if kind in kinds])


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
