"""Preprocessing of images for networks: resize, crop, and the mean and std of the network's training images."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from brain_diffuser.models import checkpoints, model_files

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue levels of ImageNet, between 0 and 1."""
LEAST_STD = 0.01  # of levels between 0 and 1; what is divided by less is no image
LARGEST_SIDE = 4096
"""In pixels; larger images than any network reads."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the images that the published CLIP was trained on."""


def normalised(
    pixels: Float[Tensor, "*pixel"], mean: Float[Tensor, "..."], std: Float[Tensor, "..."]
) -> Float[Tensor, "*pixel"]:
    """(pixels - mean) / std, of pixels between 0 and 1."""
    return (pixels - mean) / std


def truncated(images: UInt8[np.ndarray, "*image"]) -> UInt8[np.ndarray, "*image"]:
    """The levels that the published program gives to CLIP: 1 to 63 lose one, all others stay.

    It maps levels to [-1, 1] and back in float32, and the processor that it pins (transformers 4.19.2) cuts what is
    behind the point. The features of an image move by about a hundredth of their spread.

    Source: the released program of Ozcelik & VanRullen 2023, arXiv 2303.05334.
    """
    levels = np.arange(256, dtype=np.float32) / 255
    return (((levels * 2 - 1) + 1) / 2 * 255).astype(np.uint8)[images]


class Preprocessing(NamedTuple):
    """CLIP's preprocessing: PIL resize of the shortest side, centre crop, / 255, mean and std of its images."""

    shortest_side: int
    crop: tuple[int, int]
    resample: Image.Resampling
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def load(cls, folder: str | Path) -> "Preprocessing":
        """The preprocessing that `preprocessor_config.json` describes, in which old files do not name their sizes.

        Where transformers 5 wrote `processor_config.json` alone, it is the part `image_processor` of that.

        Raises FileNotFoundError: no such file. ValueError: the file describes another preprocessing than CLIP's.
        """
        path = Path(folder) / model_files.preprocessing(Path(folder))
        config = checkpoints.read_config(folder, path.name)
        if path.name == "processor_config.json":
            config = config.get("image_processor")
            if not isinstance(config, dict):
                raise ValueError(
                    f"{path} has no image_processor; expected CLIP's size, crop_size, image_mean and image_std"
                )
        off = [key for key in ("do_resize", "do_center_crop", "do_normalize") if not config.get(key, True)]
        if off:
            raise ValueError(f"{path} has {off[0]} false; expected true, as CLIP was trained")
        try:
            size, crop = config["size"], config["crop_size"]
            found = cls(
                size["shortest_edge"] if isinstance(size, dict) else size,
                (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop),
                Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
                tuple(config["image_mean"]),
                tuple(config["image_std"]),
            )
        except KeyError as error:
            raise ValueError(
                f"{path} lacks {error}; expected CLIP's size, crop_size, image_mean and image_std"
            ) from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} does not describe a preprocessing of images ({error}); is it damaged?") from error
        sides, colours = (found.shortest_side, *found.crop), (*found.mean, *found.std)
        are_sides = all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides)
        are_colours = all(type(colour) in (int, float) and math.isfinite(colour) for colour in colours)
        are_three = len(found.mean) == len(found.std) == 3
        are_colours = are_colours and are_three and 0 <= min(found.mean) and max(colours) <= 1
        if not are_sides or not are_colours or min(found.std) < LEAST_STD:
            raise ValueError(
                f"{path} has size {size}, crop_size {crop}, image_mean {list(found.mean)}, image_std "
                f"{list(found.std)}; expected pixels, and three numbers from 0 to 1 of mean and of std, which is not 0"
            )
        if max(found.crop) > found.shortest_side:
            raise ValueError(
                f"{path} has crop_size {found.crop}, larger than size {found.shortest_side}; is it damaged?"
            )
        return found

    def __call__(
        self, images: UInt8[np.ndarray, "images height width 3"]
    ) -> Float[Tensor, "images 3 crop_height crop_width"]:
        """Pixels for CLIP, of images of levels 0 to 255.

        transformers' processors are not used: they divide floats by 255 twice and resize differently with torchvision.
        """
        height, width = images.shape[1:3]
        shortest = min(height, width)
        new_height, new_width = (int(self.shortest_side * side / shortest) for side in (height, width))
        top, left = (new_height - self.crop[0]) // 2, (new_width - self.crop[1]) // 2
        window = slice(top, top + self.crop[0]), slice(left, left + self.crop[1])
        resized = (Image.fromarray(image).resize((new_width, new_height), self.resample) for image in images)
        levels = np.stack([np.asarray(image)[window] for image in resized])
        pixels = torch.from_numpy(levels).float() / 255
        return normalised(pixels, torch.tensor(self.mean), torch.tensor(self.std)).movedim(-1, 1)
