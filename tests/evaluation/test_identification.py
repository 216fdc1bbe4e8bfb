"""Identification of Haxby's blocks by betas, decoded features and images, from files as the workflow leaves them."""

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files
from demo import haxby_runs

CATEGORIES = ("face", "house", "cat")


class Network:
    """Features are the mean colours of an image."""

    def features(self, images):
        return {"first": np.zeros((len(images), 1)), "colour": images.mean((1, 2))}


def test_every_way_to_identify_names_the_category_of_each_block(tmp_path):
    rng = np.random.default_rng(0)
    category, run = np.tile(CATEGORIES, 4), np.repeat(np.arange(4), 3)
    codes = {name: 40 + 150 * np.eye(3)[n] for n, name in enumerate(CATEGORIES)}
    values = np.stack([codes[name] for name in category])
    nsd_id = np.arange(12, dtype=np.int32)
    betas = hdf5.StimulusArray((values + rng.normal(0, 1, values.shape)).astype(np.float32), nsd_id)
    blocks = haxby_runs.Labelled(betas, category, run)
    stimuli = np.broadcast_to(values[:, None, None].astype(np.uint8), (12, 8, 8, 3)).copy()
    predicted, images = {}, {}
    for labels in ("true", "permuted"):
        order = haxby_runs.order_of(labels, run, seed=3)
        predicted[labels, "vdvae"] = tmp_path / f"{labels}.h5"
        hdf5.save(predicted[labels, "vdvae"], values[order].astype(np.float32), nsd_id)
        for stage in haxby_runs.STAGES:
            images[labels, stage] = (tmp_path / f"{labels}_{stage}", tmp_path / f"{labels}_{stage}.tsv")
            image_files.write_folder(*images[labels, stage], zip(nsd_id, stimuli[order], strict=True), "nsd")
    networks = {"clip": Network()}
    named = haxby_runs.identify_by_all(blocks, {"vdvae": values}, predicted, stimuli, images, networks, seed=3)
    by = (
        "plain classifier of betas",
        "predicted vdvae",
        "stage-1 reconstructions, by clip",
        "reconstructions, by clip",
    )
    assert list(named) == [(name, labels) for labels in ("true", "permuted") for name in by]
    for name in by:
        assert (named[name, "true"] == category).all()
    order = haxby_runs.order_of("permuted", run, seed=3)
    assert (order != np.arange(12)).any()
    assert (named["predicted vdvae", "permuted"] == category[order]).all()
