"""Sizes of the stimuli, images, betas and features that planned jobs read and write."""

from pathlib import Path

from PIL import Image

from brain_diffuser.data import chosen, nsd, splits, test_sets
from brain_diffuser.models import model_files
from brain_diffuser.workflow import watch
from brain_diffuser.workflow.config import schema

COLUMNS = {
    "published": {
        **{"vdvae": 91168, "clip_text": 59136, "clip_vision": 197376, "sd_text": 59136, "clip_layers": 153600},
        **{"clip_h_pooled": 1024, "clip_h_tokens": 328960, "sdxl_text": 157696, "sdxl_pooled": 1280},
        "sdxl_prompt": 159744,
    },
    "demo": {
        **{"vdvae": 22920, "clip_text": 5120, "clip_vision": 8320, "sd_text": 5120, "clip_layers": 33280},
        **{"clip_h_pooled": 128, "clip_h_tokens": 8320},
    },
}
"""Of a feature. Published: 31 layers of latents, 77 x 768, 257 x 768, four blocks of 50 x 768, 257 x 1280 of tokens."""
BLOCKS = 4  # of clip_layers
VOXELS = {"nsd": 15724, "demo": 7500, "haxby": 530}  # of NSD's subject 1, other subjects have fewer; else as many
BETAS = {"nsd": 4.2, "rehearsal": 4.2, "demo": 0.045, "haxby": 0.003}
"""Megabytes of betas for a stimulus; NSD has 40 sessions of 1.05 GB for 10,000."""
NSD_SIDE = 425  # of a stimulus image of NSD and of the demo, pixels
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SIDE = {"published": 512, "demo": 64}  # of an image, pixels


class Sizes:
    """Sizes of the jobs of a configuration.

    Parameters
    ----------
    cfg
        The configuration.
    dtype
        The precision of networks, `compute.dtype` with "auto" settled.

    Attributes
    ----------
    guessed : set of str
        Subjects whose stimuli are not counted yet, so that the largest possible number stands for them.
    """

    def __init__(self, cfg: schema.Config, dtype: str):
        self.cfg, self.dtype, self.results = cfg, dtype, Path(cfg.results)
        self.networks = networks_of(cfg) or ""
        self.guessed: set[str] = set()

    def n_stimuli(self, subject: str, split: str) -> int:
        """How many there are: by the table of a subject's stimuli, else by what the dataset says of itself."""
        if "+" in split:
            return sum(self.n_stimuli(subject, each) for each in split.split("+"))
        of_test_set = self.cfg.test_folders.get(subject)
        if of_test_set and split == "train":
            return self.n_stimuli(of_test_set[0], split)
        known = watch.splits(self.results / subject / "data/stimuli.tsv")
        if known:
            return known.count(split)
        if of_test_set:
            settings = self.cfg.named_test_sets[of_test_set[1]]
            return test_sets.KINDS[settings["kind"]].n_stimuli(self.cfg, of_test_set[0], settings)
        if subject in self.cfg.split_folders:
            _, name = self.cfg.split_folders[subject]
            return splits.n_stimuli(self.all_stimuli(self.whose(subject)), self.cfg.named_splits[name], split)
        if self.cfg.paths.simulated:
            return {"train": self.cfg.demo.n_train, "test": self.cfg.demo.n_test}[split]
        if self.cfg.paths.adapter_name == "nsd" and not Path(nsd.design_file(self.cfg)).is_file():
            self.guessed.add(subject)
        return self.cfg.adapter.n_stimuli(self.cfg, subject, split)

    def whose(self, folder: str) -> str:
        """The subject that a folder of results belongs to, which for a further split or a test set is another's."""
        return self.cfg.folders.get(folder, (folder,))[0]

    def all_stimuli(self, subject: str) -> int:
        """Those of both splits."""
        return self.n_stimuli(subject, "train+test")

    def n_chosen(self) -> int:
        """How many stimuli `recon.only` chooses; 0 if it chooses none."""
        only = self.cfg.recon.only
        return 0 if only == chosen.ALL else only if isinstance(only, int) else len(only)

    def stimuli(self, job: watch.Job) -> int:
        """The test stimuli that a job makes or reads images of, or those of its shard."""
        if job.rule.startswith("chosen"):
            return min(self.n_chosen(), self.n_stimuli(job.subject, "test"))
        if job.span is None:
            return self.n_stimuli(job.subject, job.split)
        start, end = job.span
        return max(0, min(end, self.n_stimuli(job.subject, job.split)) - start)

    def columns(self, feature: str) -> int:
        """Numbers of a feature; 1 where the networks are unknown."""
        found = COLUMNS.get(self.networks, {}).get(feature, 1)
        return found * len(self.cfg.features.clip_layers.blocks) // BLOCKS if feature == "clip_layers" else found

    def are_known(self, feature: str) -> bool:
        """Whether the sizes of the networks are known, and the columns of a feature if there is one."""
        return feature in ("", *COLUMNS.get(self.networks, {})) and bool(self.networks)

    def stimulus_bytes(self) -> int:
        """Bytes of a stimulus image as it is kept: of one's own images their own size, else NSD's."""
        folder = Path(self.cfg.paths.custom.stimuli if self.cfg.paths.custom else "")
        images = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_FILES)
        first = next(images, None) if self.cfg.paths.custom else None
        if first is None:
            return NSD_SIDE**2 * 3
        with Image.open(first) as image:
            return image.width * image.height * 3

    def betas_megabytes(self, subject: str) -> float:
        """Megabytes of a subject's files of betas, as they are, or will be where that is known."""
        sources = self.cfg.adapter.inputs(self.cfg, "betas", self.whose(subject)).values()
        files = [Path(path) for source in sources for path in source.paths]
        known = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
        name = "demo" if self.cfg.paths.simulated else self.cfg.paths.adapter_name
        return max(known, self.all_stimuli(subject) * BETAS.get(name, 0.0))

    def image_area(self, *, is_small: bool = False) -> float:
        """Pixels of a reconstruction in units of 64 x 64; stage-1 reconstructions have as many."""
        return 1.0 if is_small else (SIDE.get(self.networks, SIDE["published"]) / 64) ** 2

    def voxels(self) -> int:
        """Voxels of a subject, at most or about so many."""
        name = "demo" if self.cfg.paths.simulated else self.cfg.paths.adapter_name
        return VOXELS.get(name, VOXELS["nsd"])


def steps_of(cfg: schema.Config, name: str = "") -> int:
    """The denoising steps of an image of a variant; without a name, of a reconstruction."""
    variant, settings = cfg.variant(name)
    return max(1, int(settings["steps"] * (1 if variant.start == "noise" else settings["strength"])))


def networks_of(cfg: schema.Config) -> str | None:
    """Whose networks a run has: the published ones, the demo's, or others of which nothing is known."""
    if cfg.paths.vdvae.startswith("demo/"):
        return "demo"
    return None if model_files.description(cfg.paths.vdvae) else "published"
