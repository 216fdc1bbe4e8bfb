"""Features of a few stimuli: the VDVAE itself, and stand-ins for the CLIP encoders."""

import json

import h5py
import numpy as np
import pytest
import tiny_vdvae
import torch

from brain_diffuser.artifacts import hdf5, image_files, seeds
from brain_diffuser.features import extract as features_extract
from brain_diffuser.features import registry

DEFAULTS = {feature: {"batch_size": 2, "storage": "float32"} for feature in registry.FEATURES}
DEFAULTS["vdvae"] |= {"posterior": "mean", "seed": 0}
IDS = np.array([41, 7, 72999, 0, 12], np.int32)
CAPTIONS = {
    "41": ["a cat", "a dog", "a tree"],
    "7": ["two boats", "", "  "],
    "72999": ["sea"],
    "0": ["hill", "hill"],
    "12": ["road"],
    "3": ["of no stimulus here"],
}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (len(IDS), 40, 40, 3), np.uint8)


@pytest.fixture
def stimuli_path(tmp_path, images):
    path = tmp_path / "nsd" / "stimuli_train.h5"
    hdf5.save(path, images, IDS, flatten=False)
    return path


@pytest.fixture
def captions_path(tmp_path):
    path = tmp_path / "nsd" / "captions.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(CAPTIONS))
    return path


@pytest.fixture(scope="module")
def vdvae():
    return tiny_vdvae.model()


@pytest.fixture
def extract(tmp_path, stimuli_path, captions_path):
    """Extract a feature and read it back."""

    def run(feature, model, **options):
        out_path = tmp_path / "features" / f"{feature}_train.h5"
        features_extract.extract(feature, model, stimuli_path, captions_path, out_path, **DEFAULTS[feature] | options)
        return hdf5.load(out_path)

    return run


def read_text(texts):
    """Stands in for a text encoder: every text has its length in all 3 x 2 numbers, plus their index."""
    return torch.tensor([len(text) for text in texts]).view(-1, 1, 1) + torch.arange(6.0).view(3, 2)


def embed(images):
    """Stands in for a vision encoder: 4 tokens, the mean of each quarter of the image's height."""
    return torch.from_numpy(images).float().unflatten(1, (4, -1)).mean((2, 3))


def test_vdvae_is_the_posterior_mean_of_the_resized_image(extract, images, vdvae):
    values, nsd_id = extract("vdvae", vdvae)
    np.testing.assert_array_equal(nsd_id, IDS)
    assert values.dtype == np.float32
    resized = torch.from_numpy(image_files.resize(images, 16, "bilinear"))
    expected = vdvae.encode_latents(resized, tiny_vdvae.N_LATENTS).detach()
    np.testing.assert_allclose(values, expected, atol=2e-5, rtol=1e-4)


def test_a_posterior_sample_belongs_to_its_image(extract, images, vdvae):
    values, _ = extract("vdvae", vdvae, posterior="sample", seed=5)
    one_by_one, _ = extract("vdvae", vdvae, posterior="sample", seed=5, batch_size=1)
    np.testing.assert_allclose(values, one_by_one, atol=2e-5, rtol=1e-4)
    shapes = vdvae.latent_shapes[: tiny_vdvae.N_LATENTS]
    eps = [seeds.normal(5, IDS[3:4], f"vdvae.posterior.{index}", shape) for index, shape in enumerate(shapes)]
    resized = torch.from_numpy(image_files.resize(images[3:4], 16, "bilinear"))
    expected = vdvae.encode_latents(resized, len(shapes), eps).detach()
    np.testing.assert_allclose(values[3:4], expected, atol=2e-5, rtol=1e-4)
    assert np.abs(values - extract("vdvae", vdvae, posterior="sample", seed=6)[0]).max() > 0.1


def test_vision_reads_images_at_the_autoencoders_size(extract, images):
    sizes = []

    def model(batch):
        sizes.append(batch.shape)
        return embed(batch)

    values, _ = extract("clip_vision", model, image_size=24)
    assert sizes == [(2, 24, 24, 3), (2, 24, 24, 3), (1, 24, 24, 3)]
    np.testing.assert_allclose(values, embed(image_files.resize(images, 24, "bilinear")))


def test_vision_reads_the_levels_of_the_published_program_on_demand(extract, images, tmp_path):
    def made_by():
        with h5py.File(tmp_path / "features" / "clip_vision_train.h5") as file:
            return json.loads(file["values"].attrs["made_by"])

    kept, _ = extract("clip_vision", embed, image_size=24)
    assert made_by() == {"feature": "clip_vision", "image_size": 24}  # as before there was the setting
    np.testing.assert_array_equal(kept, extract("clip_vision", embed, image_size=24, levels="kept")[0])
    paper, _ = extract("clip_vision", embed, image_size=24, levels="paper")
    assert made_by()["levels"] == "paper"
    resized = image_files.resize(images, 24, "bilinear")  # the levels are those of the resized image
    np.testing.assert_allclose(paper, embed(resized - ((resized > 0) & (resized < 64))), rtol=1e-6)
    assert (paper <= kept).all()
    assert (paper < kept).mean() > 0.5


def test_clip_layers_read_images_at_the_autoencoders_size_too(extract, images, tmp_path):
    def model(batch, blocks):
        return embed(batch)[:, None] * torch.tensor(blocks).view(-1, 1, 1)

    values, _ = extract("clip_layers", model, image_size=24, blocks=[1, 3])
    expected = embed(image_files.resize(images, 24, "bilinear"))
    np.testing.assert_allclose(values, torch.stack([expected, 3 * expected], 1))
    with h5py.File(tmp_path / "features" / "clip_layers_train.h5") as file:
        assert json.loads(file["values"].attrs["axes"]) == ["blocks", "tokens", "dim"]
        assert json.loads(file["values"].attrs["made_by"])["blocks"] == [1, 3]


def test_text_is_the_mean_over_captions_that_are_not_empty(extract):
    values, nsd_id = extract("clip_text", read_text, storage="float16")
    assert values.shape == (5, 3, 2)
    assert values.dtype == np.float16
    np.testing.assert_array_equal(nsd_id, IDS)
    lengths = [(5 + 5 + 6) / 3, 9, 3, 4, 4]
    np.testing.assert_allclose(values[:, 0, 0], lengths, rtol=1e-3)
    np.testing.assert_allclose(values[:, 2, 1], np.add(lengths, 5), rtol=1e-3)


def test_text_needs_no_images(tmp_path, captions_path):
    path = tmp_path / "nsd" / "stimuli_test.h5"
    hdf5.save(path, np.zeros((5, 1), np.uint8), IDS)
    features_extract.extract(
        "clip_text", read_text, path, captions_path, tmp_path / "text.h5", batch_size=3, storage="float32"
    )
    assert hdf5.load(tmp_path / "text.h5").values.shape == (5, 3, 2)


def test_the_file_says_what_it_holds(extract, tmp_path, vdvae):
    extract("vdvae", vdvae, posterior="sample", seed=5)
    extract("clip_text", read_text)
    with h5py.File(tmp_path / "features" / "vdvae_train.h5") as file:
        said = dict(file["values"].attrs)
        assert file["values"].shape == (5, 964)
    assert json.loads(said["axes"]) == ["latents"]
    assert json.loads(said["made_by"]) == {"feature": "vdvae", "posterior": "sample", "seed": 5}
    with h5py.File(tmp_path / "features" / "clip_text_train.h5") as file:
        assert file["values"].shape == (5, 6)
        assert json.loads(file["values"].attrs["shape"]) == [3, 2]


def test_images_in_memory_have_the_features_of_a_file(extract, tmp_path, images):
    expected, _ = extract("clip_vision", embed, image_size=8)
    features_extract.store(
        "clip_vision", embed, images, IDS, tmp_path / "stored.h5", batch_size=3, image_size=8, storage="float32"
    )
    stored = hdf5.load(tmp_path / "stored.h5")
    np.testing.assert_array_equal(stored.values, expected)
    np.testing.assert_array_equal(stored.nsd_id, IDS)


def test_progress_counts_batches(extract):
    reports = []

    def progress(iterable, total, what):
        for item in iterable:
            reports.append((total, what))
            yield item

    extract("clip_text", read_text, progress=progress)
    assert reports == [(3, "clip_text batches")] * 3


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_a_value_that_cannot_be_stored(extract, tmp_path, storage):
    def model(batch):
        embeddings = embed(batch)
        embeddings[-1, 1, 2] = 70_000.0 if storage == "float16" else torch.inf
        return embeddings

    message = {
        "float16": r"clip_vision of nsd_id 7 has 70000 in column 5; float16 ends at 65504. Set features.storage to f",
        "float32": r"feature clip_vision, nsd_id 7: inf in the network's output \(float32\); .* Check the model's w",
    }[storage]
    with pytest.raises(ValueError, match=message):
        extract("clip_vision", model, image_size=8, storage=storage)
    assert not list(tmp_path.glob("features/*"))


def test_an_image_without_caption(extract, captions_path):
    captions_path.write_text(json.dumps({**CAPTIONS, "0": [" "], "12": []}))
    with pytest.raises(
        ValueError, match=r"captions.json has no caption for nsd_id 0 \(2 of 5 stimuli\); .* Rerun its job: snakemake"
    ):
        extract("clip_text", read_text)


def test_a_feature_is_loaded_from_files(tmp_path, vdvae):
    path = tmp_path / "tiny.th"
    torch.save(vdvae.state_dict(), path)
    with pytest.raises(ValueError, match=r"tiny.th lacks"):
        registry.FEATURES["vdvae"].load(path, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("shape", [(1, 4, 3), (2, 12), (2, 4, 3, 1)])
def test_what_embed_returns_has_a_row_for_each_stimulus_and_the_axes_of_the_record(shape):
    registry.check_embedded(np.zeros((3, 65, 8)), 2, "clip_vision")  # padded batches have rows to spare
    with pytest.raises(ValueError, match=r"^feature clip_vision: embed returned .* expected \(stimuli, tokens, dim\)"):
        registry.check_embedded(np.zeros(shape), 2, "clip_vision")
