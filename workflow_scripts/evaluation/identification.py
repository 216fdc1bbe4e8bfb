"""Haxby et al. 2001: how many blocks are identified among eight categories, by betas, features and images."""

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.data import custom_files
from brain_diffuser.evaluation import perceptual
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job
from demo import haxby_runs

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    haxby_cfg, n_features = cfg["haxby"], len(params.features)
    blocks = haxby_runs.labelled(haxby_runs.together(*inputs.betas), custom_files.read_ids(inputs.stim_files))
    true = {
        feature: haxby_runs.flat(haxby_runs.together(*inputs.features[2 * place : 2 * place + 2]))
        for place, feature in enumerate(params.features)
    }
    seen = haxby_runs.together(*inputs.stimuli)
    device, _ = devices.choose(snakemake.resources.device, "float32")
    known = {
        name: perceptual.load(name, cfg["metrics.protocol"], params.evaluation_networks, params.clip, device)
        for name in cfg["metrics.networks"]
    }
    perceptual_scores = {name: haxby_runs.only(network.features(seen.values)) for name, network in known.items()}
    named = {}
    for at, labels in enumerate(params.labels):
        random = np.random.default_rng([haxby_cfg["seed"], 0])
        order = haxby_runs.shuffled(blocks.run, random) if labels == "permuted" else np.arange(len(blocks.run))
        named["plain classifier of betas", labels] = haxby_runs.classify(blocks, order)
        for place, feature in enumerate(params.features):
            predicted = hdf5.load(inputs.predicted[at * n_features + place])
            named[f"predicted {feature}", labels] = haxby_runs.identify(
                blocks, true[feature], haxby_runs.flat(predicted)
            )
        for place, stage in enumerate(("first guesses", "reconstructions")):
            ids, images = image_files.read_folder(inputs.images[2 * at + place], inputs.manifests[2 * at + place])
            hdf5.check_aligned(inputs.betas[0], blocks.betas.nsd_id, inputs.images[2 * at + place], ids)
            for name, network in known.items():
                made = haxby_runs.only(network.features(images))
                named[f"{stage}, by {name}", labels] = haxby_runs.identify(blocks, perceptual_scores[name], made)
    shares = haxby_runs.control(
        blocks,
        true["clip_vision"],
        alpha=params.alpha,
        permutations=haxby_cfg["permutations"],
        seed=haxby_cfg["seed"],
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        haxby_runs.write_identification(
            folder, blocks, named, shares, f"{params.dataset_label[0]}: {params.dataset_label[1]}"
        )
