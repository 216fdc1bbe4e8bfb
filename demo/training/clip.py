"""Train the demo's CLIP pair (transformers' CLIP towers and tokeniser) on captioned scenes.

    python -m demo.training.clip --steps 4000

Besides the contrastive loss, each projected patch token names the object under its patch and holds a thumbnail of it,
and a query for each place finds its token by a dot product, as the UNet's cross-attention has to; the heads for that
are dropped afterwards. So the tokens that condition Versatile Diffusion
say what is where: contrastive tokens alone forget the column.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import pre_tokenizers, trainers
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from brain_diffuser.models.preprocessing import CLIP_MEAN, CLIP_STD, normalised
from demo import scenes
from demo.training import corpus
from demo.training.loop import fit, precision

OUT = Path("demo/models/versatile-diffusion")
TOKENS, PROJECTION = 40, 128
THUMBNAIL = 4  # pixels a side


def train_tokeniser(captions: list[list[str]]) -> CLIPTokenizer:
    """CLIP's byte-pair tokeniser with merges learned on the demo's captions; the end token has the largest id."""
    blank = CLIPTokenizer()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=special,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core = blank.backend_tokenizer
    core.train_from_iterator((text for texts in captions for text in texts), trainer)
    learned = json.loads(core.to_str())["model"]
    words = [w for w in learned["vocab"] if w not in special] + special
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges, model_max_length=TOKENS)


class Pair(nn.Module):
    """Both towers, the temperature and the training heads."""

    def __init__(self, tokeniser: CLIPTokenizer):
        super().__init__()
        end = tokeniser.eos_token_id
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=len(tokeniser),
                hidden_size=128,
                intermediate_size=512,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=TOKENS,
                projection_dim=PROJECTION,
                bos_token_id=tokeniser.bos_token_id,
                eos_token_id=end,
                pad_token_id=end,
            )
        )
        self.vision = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=128,
                intermediate_size=512,
                num_hidden_layers=4,
                num_attention_heads=4,
                image_size=corpus.SIZE,
                patch_size=corpus.SIZE // corpus.PATCHES,
                projection_dim=PROJECTION,
            )
        )
        self.temperature = nn.Parameter(torch.tensor(np.log(1 / 0.07)))
        self.name_head = nn.Linear(PROJECTION, len(scenes.things()) + 1)
        self.place_head = nn.Linear(PROJECTION, corpus.PATCHES**2, bias=False)
        self.thumbnail_head = nn.Linear(PROJECTION, 3 * THUMBNAIL**2)

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Projected vision tokens (batch, 1 + patches, projection), as Versatile Diffusion reads them."""
        hidden = self.vision.vision_model(pixels).last_hidden_state
        return self.vision.visual_projection(self.vision.vision_model.post_layernorm(hidden))


def to_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float (batch, 3, 64, 64), CLIP's normalisation."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return normalised(pixels, torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None])


def thumbnails_of(pixels: torch.Tensor) -> torch.Tensor:
    """Each patch at THUMBNAIL pixels a side: (batch, 3, 64, 64) -> (batch, patches, 3 * THUMBNAIL**2)."""
    small = F.avg_pool2d(pixels, corpus.SIZE // corpus.PATCHES // THUMBNAIL)
    return F.unfold(small, THUMBNAIL, stride=THUMBNAIL).transpose(1, 2)


def main(steps: int, batch_size: int, lr: float) -> None:
    images, labels, captions = corpus.read("training")
    tokeniser = train_tokeniser(captions[:5000])
    ids = tokeniser([t for c in captions for t in c], padding="max_length", truncation=True, return_tensors="np")
    ids = ids["input_ids"].astype(np.int64).reshape(len(captions), 5, TOKENS)
    lengths = (ids != tokeniser.eos_token_id).sum(-1)
    logging.info("%d words, longest caption %d tokens", len(tokeniser), lengths.max() + 1)
    torch.manual_seed(0)
    pair = Pair(tokeniser)

    def loss(pair, rows, generator):
        pixels = to_input(images[rows])
        pick = torch.randint(5, (len(rows),), generator=generator).numpy()
        text = torch.from_numpy(ids[rows, pick])
        text = text[:, : int(lengths[rows, pick].max()) + 1]
        with precision():
            tokens = pair.tokens(pixels)
            words = pair.text(input_ids=text).text_embeds
        tokens, words = tokens.float(), words.float()
        scores = F.normalize(words) @ F.normalize(tokens[:, 0]).T * pair.temperature.exp().clamp(max=100)
        target = torch.arange(len(rows))
        contrast = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        patches = tokens[:, 1:] / tokens[:, :1].norm(dim=-1, keepdim=True)
        names = F.cross_entropy(
            pair.name_head(patches).flatten(0, 1), torch.from_numpy(labels[rows].astype(np.int64)).flatten()
        )
        looked = pair.place_head(patches)  # (batch, patches, places): from each place at each patch
        places = F.cross_entropy(looked, torch.arange(looked.shape[1]).expand(len(rows), -1))
        thumbnails = F.mse_loss(pair.thumbnail_head(patches), thumbnails_of(pixels))
        accuracy = (scores.argmax(1) == target).float().mean()
        parts = {"contrast": contrast, "names": names, "places": places, "thumbnails": thumbnails}
        return sum(parts.values()), {k: v.item() for k, v in (parts | {"accuracy": accuracy}).items()}

    pair = fit(
        pair,
        loss,
        name="clip",
        folder=corpus.FOLDER,
        n_rows=len(images),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        averaging=0.998,
    )
    logging.info(json.dumps(evaluate(pair, tokeniser)))
    pair.text.half().save_pretrained(OUT / "text_encoder")
    pair.vision.half().save_pretrained(OUT / "image_encoder")
    tokeniser.save_pretrained(OUT / "tokenizer")
    tokeniser.backend_tokenizer.model.save(str(OUT / "tokenizer"))  # vocab.json and merges.txt, as published
    extractor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 3,
        "size": {"shortest_edge": corpus.SIZE},
        "do_center_crop": True,
        "crop_size": {"height": corpus.SIZE, "width": corpus.SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
    }
    folder = OUT / "image_feature_extractor"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor, indent=2) + "\n", encoding="utf-8")


@torch.inference_mode()
def evaluate(pair: Pair, tokeniser: CLIPTokenizer) -> dict[str, float]:
    """On 500 held-out scenes: caption among 500 found from the image, and patches named right."""
    images, labels, captions = (part[:500] for part in corpus.read("held-out"))
    tokens = torch.cat([pair.tokens(to_input(b)) for b in np.array_split(images, 10)])
    text = tokeniser([c[0] for c in captions], padding="max_length", truncation=True, return_tensors="pt")
    words = pair.text(input_ids=text["input_ids"]).text_embeds
    found = (F.normalize(tokens[:, 0]) @ F.normalize(words).T).argmax(1) == torch.arange(500)
    named = pair.name_head(tokens[:, 1:] / tokens[:, :1].norm(dim=-1, keepdim=True)).argmax(-1).numpy()
    object_patches = labels.reshape(500, -1) > 0
    right = (named == labels.reshape(500, -1))[object_patches]
    return {"caption_top1_of_500": float(found.float().mean()), "object_patches_named": float(right.mean())}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    main(**vars(parser.parse_args()))
