"""In 16 bits an image has the same bytes alone, in any batch and in any shard, whatever kernels make of batches."""

import copy
import json

import h5py
import numpy as np
import pytest
import torch
from tiny_diffusion import contexts, small_models

from brain_diffuser.artifacts.hdf5 import StimulusArray
from brain_diffuser.features import extract
from brain_diffuser.generation import img2img, vdvae_stage
from brain_diffuser.models import batches, layout
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

pytestmark = pytest.mark.long

IDS = np.array([4, 9, 2, 7, 70000], np.int32)
SETTINGS = {"seed": 5, "steps": 4, "strength": 0.75, "guidance_scale": 3.0, "text_weight": 0.4, "noise_at": "paper"}
UNCONDITIONAL = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))
SHARDS = [slice(0, 5), slice(0, 1), slice(1, 3), slice(3, 5), slice(4, 5)]


@pytest.fixture(params=["cpu", "gpu"])
def batching(request, monkeypatch):
    """How a CPU and a GPU cut batches; all is computed on this CPU."""
    if request.param == "gpu":
        of_cpu = batches.split
        monkeypatch.setattr(
            batches, "split", lambda rows, size, device, dtype, **how: of_cpu(rows, size, "cuda", dtype, **how)
        )
    return request.param


def sizes(batching):
    """On a GPU a result depends on the batch size, which is one of its settings."""
    return [1, 2, 4] if batching == "cpu" else [2]


def disturb(model):
    """A network whose output depends on the number of images in its batch, as in 16 bits those of full size do."""
    model.register_forward_hook(lambda _, inputs, output: output + 0.05 * len(inputs[0]))
    return model


@pytest.fixture
def models():
    denoiser, autoencoder = (copy.deepcopy(model).to(torch.bfloat16) for model in small_models())
    return disturb(denoiser), autoencoder


def reconstruct(models, rows, batch_size, guidance_fn=None):
    init_images = np.random.default_rng(0).integers(256, size=(5, 12, 12, 3), dtype=np.uint8)
    inputs = (part[rows] for part in (init_images, *contexts(5)))
    found = img2img.reconstruct(
        *inputs, UNCONDITIONAL, models, nsd_id=IDS[rows], batch_size=batch_size, guidance_fn=guidance_fn, **SETTINGS
    )
    return dict(found)


def assert_same(found, expected):
    for number, image in found.items():
        np.testing.assert_array_equal(image, expected[number])


def test_networks_here_do_depend_on_their_batch(models):
    """What the other tests would not notice otherwise."""
    x, read = torch.zeros(1, 4, 8, 8), [torch.from_numpy(each) for each in contexts(1)]
    alone = models[0](x, 500, *read, 0.4)
    together = models[0](torch.cat([x, x]), 500, *(torch.cat([each, each]) for each in read), 0.4)
    assert not torch.equal(alone[0], together[0])


@pytest.mark.parametrize("rows", SHARDS, ids=str)
def test_reconstructions(models, batching, rows):
    expected = reconstruct(models, slice(0, 5), 2)
    assert list(expected) == IDS.tolist()
    for batch_size in sizes(batching):
        found = reconstruct(models, rows, batch_size)
        assert list(found) == IDS[rows].tolist()
        assert_same(found, expected)


def test_steps_of_guidance_name_rows_that_there_are(models, batching):
    """Copies of the last image are guided to its own targets."""
    rows = []

    def guidance_fn(step):
        rows.append(range(step.rows.start, step.rows.stop))
        return step.eps

    assert_same(reconstruct(models, slice(0, 5), 2, guidance_fn), reconstruct(models, slice(0, 5), 2))
    assert set(rows) == (
        {range(n, n + 1) for n in range(5)} if batching == "cpu" else {range(2), range(2, 4), range(4, 5)}
    )


@pytest.fixture(scope="module")
def vdvae():
    """A small part of the published VDVAE, in whose encoder kernels of bfloat16 differ with the batch on some CPUs."""
    torch.manual_seed(0)
    config = VDVAEConfig(enc_blocks="64x1,64d2,32x1", dec_blocks="32x1,64m32", width=128, n_latents=1)
    model = VDVAE(config).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(torch.bfloat16)
    layout.arrange(model, "cpu", torch.bfloat16)
    return model


@pytest.mark.parametrize("rows", SHARDS[1:4], ids=str)
def test_stage_1(vdvae, batching, rows, monkeypatch):
    original = VDVAE.decode_latents
    monkeypatch.setattr(VDVAE, "decode_latents", lambda model, z, *others: original(model, z + 0.05 * len(z), *others))
    latents = np.random.default_rng(3).standard_normal((5, vdvae.n_columns(1)), np.float32)
    settings = {"seed": 2, "pixel_likelihood": "sample", "temperature": None}

    def decode(rows, batch_size):
        return dict(
            vdvae_stage.decode(StimulusArray(latents[rows], IDS[rows]), vdvae, batch_size=batch_size, **settings)
        )

    expected = decode(slice(0, 5), 2)
    for batch_size in sizes(batching):
        assert_same(decode(rows, batch_size), expected)


def test_features_of_images(vdvae, batching, tmp_path):
    """At a size where the kernels of an AVX512-BF16 processor do differ: 1 % of the latents."""
    images = np.random.default_rng(4).integers(256, size=(5, 64, 64, 3), dtype=np.uint8)

    def latents(rows, batch_size):
        path = tmp_path / f"{rows.start}_{rows.stop}_{batch_size}.h5"
        computes = {"device": "cpu", "dtype": torch.bfloat16, "storage": "float32", "posterior": "sample", "seed": 1}
        extract.store("vdvae", vdvae, images, IDS, path, batch_size=batch_size, rows=rows, **computes)
        with h5py.File(path) as file:
            return file["values"][:]

    expected = latents(slice(0, 5), 2)
    for batch_size in sizes(batching):
        for rows in SHARDS[1:4]:
            np.testing.assert_array_equal(latents(rows, batch_size), expected[rows])


def test_features_of_captions_are_of_one_stimulus_at_a_time(batching, tmp_path):
    """A stimulus has any number of captions, so no number of stimuli gives a network one shape."""
    stimuli, captions = tmp_path / "stimuli.h5", tmp_path / "captions.json"
    with h5py.File(stimuli, "w") as file:
        file["images"], file["nsd_id"] = np.zeros((5, 2, 2, 3), np.uint8), IDS
    captions.write_text(json.dumps({str(number): ["a"] * (1 + row) for row, number in enumerate(IDS)}))

    def model(texts):
        return torch.full((len(texts), 2, 3), float(len(texts)))

    for dtype, expected in ((torch.bfloat16, [1, 2, 3, 4, 5]), (torch.float32, [10, 10, 10, 10, 5])):
        path = tmp_path / f"{dtype}.h5"
        extract.store(
            "clip_text",
            model,
            extract.read_captions(captions, IDS),
            IDS,
            path,
            batch_size=4,
            storage="float32",
            dtype=dtype,
        )
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["values"][:, 0], expected)
