"""Models that mirror config.yaml, and one sentence for the person who has to correct it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from brain_diffuser.data import rois, splits, test_set, test_sets
from brain_diffuser.data.adapter import NONE, matching_files
from brain_diffuser.data.nsd import DEMO_STIMULI_PER_SESSION
from brain_diffuser.data.registry import ADAPTERS
from brain_diffuser.decoding.registry import DECODERS
from brain_diffuser.evaluation.registry import SCORERS
from brain_diffuser.features.registry import FEATURES
from brain_diffuser.generation.registry import BACKBONES
from brain_diffuser.models import model_files
from brain_diffuser.workflow import fetch, renamed, source_files
from brain_diffuser.workflow.config import messages, schema
from brain_diffuser.workflow.config.sources import UNKNOWN, LocatedError, Sources
from brain_diffuser.workflow.config.variants import CHOOSERS

NSD_TERMS = "https://cvnlab.slite.page/p/IB6BSeW_7o/Terms-and-Conditions"


NSD_FORM = "https://naturalscenesdataset.org"


MODELS = {record.key for record in (*FEATURES.values(), *BACKBONES.values())}
"""Keys of a dataset that lead to models."""


PUBLISHED_BYTES = {"vdvae": 125_005_860 * 2, "versatile_diffusion": 1_126_760_324 * 2}
"""The published networks in 16 bits: a smaller checkpoint is another network, which a JSON has to describe."""


OF_REGISTRIES = ("features", "decoders", "learned", "guidance", "variants")
"""Sections with lists of numbers in which one may come again, such as sizes of layers."""


WITH_SETTINGS = ("rehearsal", "bids")
"""Adapters that read the section `settings` beside another one."""


def read(config: dict, root: Path, sources: Sources = UNKNOWN) -> schema.Config:
    """The checked configuration; paths in it start at `root`; whole numbers become floats where floats are meant.

    `sources` tell messages in which file and line a wrong value stands.

    Raises ValueError: a key is renamed, unknown, missing or of the wrong type or range, keys disagree, a path does not
    exist.
    """
    return _checked(config, sources, lambda checked: _disagreements(checked, root))


def read_values(config: dict, sources: Sources = UNKNOWN) -> schema.Config:
    """The configuration for a program that reads few of its files: values alone are checked, and no path.

    Raises ValueError: a key is renamed, unknown, missing or of the wrong type or range; there is no such dataset.
    """
    return _checked(config, sources, lambda checked: (*_of_results(checked.results), *_of_chosen_dataset(checked)))


def _checked(config: dict, sources: Sources, problems_of: Callable[[schema.Config], Iterable[str]]) -> schema.Config:
    """The configuration, if neither its values nor `problems_of` say what is wrong with it."""
    problems = renamed.problems(config) or test_sets.problems_of_names(config.get("test_sets"))
    if not problems:
        try:
            checked = _with_root(schema.Config.model_validate(config))
        except ValidationError as error:
            problems = messages.reworded(error, config, sources)
        else:
            problems = list(problems_of(checked))
            if not problems:
                return checked
    others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise LocatedError(sources.located(f"config.yaml: {messages.printable(problems[0])}") + others)


def _of_chosen_dataset(config: schema.Config) -> Iterator[str]:
    """A dataset that is none of those of the configuration."""
    if config.dataset not in config.datasets:
        yield (
            f"dataset is {config.dataset}; expected {messages.either(list(config.datasets))}, "
            "so choose one of these or add it to datasets"
        )


def _with_root(config: schema.Config) -> schema.Config:
    """The configuration with the folder of results in place of `{results}` in the paths of datasets."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        return value.replace(schema.RESULTS, config.results) if isinstance(value, str) else value

    datasets = {
        name: schema.DatasetOfRegistries(**filled(dataset.model_dump(exclude_none=True, exclude_unset=True)))
        for name, dataset in config.datasets.items()
    }
    return config.model_copy(update={"datasets": datasets})


def _of_results(results: str) -> Iterator[str]:
    """What is wrong with the folder of results."""
    expected = "expected a folder of its own, such as results_nsd or /scratch/lab/results_nsd"
    path = PurePosixPath(results)
    wrong = sorted({sign for sign in results if sign in "{}<>*?[]\\\"'" or not sign.isprintable()})
    if wrong:
        yield f"results is {json.dumps(results)}, which has {wrong[0]!r}; {expected}"
    elif results.startswith("~") or ".." in path.parts or path.name == "" or results != results.strip():
        yield f"results is {json.dumps(results)}; {expected}, without ~ and .."
    elif str(path) != results:
        yield f"results is {json.dumps(results)}; write {path}"


def _disagreements(config: schema.Config, root: Path) -> Iterator[str]:
    """Problems that no single key has by itself."""
    yield from _of_results(config.results)
    yield from _of_lists(config.model_dump(exclude_unset=True))
    yield from _of_demo(config)
    yield from _of_fetching(config)
    yield from _of_variant_names(config)
    yield from _of_variants(config)
    yield from _of_choices(config)
    yield from _of_splits(config)
    yield from _of_blocks(config)
    yield from _of_penalties(config)
    wrong = list(_of_chosen_dataset(config))
    if wrong:
        yield from wrong
        return
    wrong = list(_of_adapter(config))
    if wrong:
        yield from wrong
        return
    yield from _of_test_sets(config)
    yield from _of_regions(config)
    yield from _of_dataset(config, root)
    yield from _of_paths(config, root)
    yield from _of_checkpoints(config, root)
    yield from _of_autoencoder(config, root)


def _of_lists(section: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """What a list of names has more than once, or a list of numbers in a section that no registry describes."""
    for key, value in section.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _of_lists(value, f"{name}.")
        elif isinstance(value, list):
            kinds = (str,) if name.split(".")[0] in OF_REGISTRIES else (str, int, float)
            counted = Counter(item for item in value if isinstance(item, kinds))
            repeated = [(item, times) for item, times in counted.items() if times > 1]
            if repeated:
                item, times = repeated[0]
                yield f"{name} has {item} {times} times; expected each once, so delete the others"


def _of_demo(config: schema.Config) -> Iterator[str]:
    """Stimuli of the demo that do not fill its sessions."""
    n_stimuli = config.demo.n_train + config.demo.n_test
    if n_stimuli % DEMO_STIMULI_PER_SESSION:
        yield (
            f"demo.n_train + demo.n_test is {n_stimuli}; expected a multiple of {DEMO_STIMULI_PER_SESSION}, "
            "the stimuli of one session; change one of them"
        )


def _of_fetching(config: schema.Config) -> Iterator[str]:
    """Terms that are not accepted, and servers that are no addresses."""
    if config.fetch.nsd and not config.fetch.accept_nsd_terms:
        yield (
            f"fetch.nsd is true, fetch.accept_nsd_terms is false; read the terms ({NSD_TERMS}), fill in the access "
            f"form at {NSD_FORM}, then set fetch.accept_nsd_terms to true"
        )
    for key, url in config.fetch.servers:
        if not fetch.is_address(url):
            shown = fetch.public(url)
            yield f"fetch.servers.{key} is {shown}; expected an address that begins with https:// or http://"


def _of_variant_names(config: schema.Config) -> Iterator[str]:
    """Names of variants that mean something else, and names that are those of no variant."""
    for name in config.variants:
        if (
            not re.fullmatch(r"[a-z][a-z0-9_.]*", name)
            or name in schema.RESERVED
            or re.search(rf"(^|\.){schema.REPEAT}", name)
        ):
            yield (
                f"variants has {name}; expected a name of small letters, digits, _ and . that is none of "
                f"{', '.join(schema.RESERVED)} and has no {schema.REPEAT} at its beginning or after a dot; rename it"
            )
    known = (*schema.RESERVED, *config.variants)
    others = [name for name in config.significance.images if name not in known]
    if others:
        yield f"significance.images names {others[0]}; {messages.unknown_name(others[0], known, expected='some of')}"
    others = [name for name in config.evidence.baselines if name not in known]
    if others:
        yield f"evidence.baselines names {others[0]}; {messages.unknown_name(others[0], known, expected='some of')}"
    if config.rating.images not in known:
        images = config.rating.images
        yield f"rating.images is {images}; {messages.unknown_name(images, known, expected='one of')}"
    unknown = [name for name in config.metrics.repeated if name != "recon" and name not in config.variants]
    if unknown:
        yield f"metrics.repeated names {unknown[0]}; expected recon or names of variants; correct the name"


def _of_splits(config: schema.Config) -> Iterator[str]:
    """Names of further splits that are no names of folders, keys that their kind does not have, and doubled names."""
    for name, section in config.splits.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"splits has {name}; expected a name of small letters, digits and _, so rename it"
        yield from splits.problems(name, section.model_dump(exclude_none=True))
    sound = [
        (name, written)
        for name, section in config.splits.items()
        if not list(splits.problems(name, written := section.model_dump(exclude_none=True)))
    ]
    parts = [part for name, written in sound for part in splits.name_parts(name, written)]
    repeated = [part for part in parts if parts.count(part) > 1]
    if repeated:
        yield f"splits gives two splits the name {repeated[0]}; rename one of them"


def _of_test_sets(config: schema.Config) -> Iterator[str]:
    """Test sets of datasets that have none, names that are no names of folders, and keys that their kind lacks."""
    if config.test_sets and config.paths.adapter_name not in test_sets.ADAPTERS:
        yield (
            f"test_sets has {next(iter(config.test_sets))}, and dataset {config.dataset} is read by the adapter "
            f"{config.paths.adapter_name}; these experiments are NSD's, so take test_sets out or choose an NSD dataset"
        )
    for name, section in config.test_sets.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"test_sets has {name}; expected a name of small letters, digits and _, so rename it"
        written = section.model_dump(exclude_none=True)
        yield from test_set.problems(name, written, test_sets.KINDS[section.kind], config.nsd.betas)
    names = [
        part
        for name, section in config.test_sets.items()
        for part in test_sets.name_parts(name, section.model_dump(exclude_none=True))
    ]
    repeated = [name for name in names if names.count(name) > 1 or name in config.named_splits]
    if repeated:
        yield f"test_sets gives a test set the name {repeated[0]}, which another one or a split has; rename one of them"


def _of_blocks(config: schema.Config) -> Iterator[str]:
    """Blocks of CLIP layers that are not in order."""
    blocks = config.features.clip_layers.blocks
    if blocks != sorted(set(blocks)):
        yield f"features.clip_layers.blocks is {blocks}; expected each block once, lowest first"


def _of_penalties(config: schema.Config) -> Iterator[str]:
    """A grid of penalties without a range, ranks that are not in order, and variants of other ranks."""
    grid = config.ridge.auto
    if grid.lowest >= grid.highest:
        yield f"ridge.auto has lowest {grid.lowest:g} and highest {grid.highest:g}; expected lowest below highest"
    ranks = config.bottleneck.ranks
    if ranks != sorted(set(ranks)):
        yield f"bottleneck.ranks is {ranks}; expected each rank once, lowest first"
    for axis in ("stimuli", "repeats", "sessions", "voxels"):
        amounts = getattr(config.scaling, axis)
        if amounts != sorted(set(amounts)):
            yield f"scaling.{axis} is {amounts}; expected each amount once, lowest first"
    for name, variant in config.variants.items():
        if variant.rank is None:
            continue
        if variant.rank not in ranks:
            yield f"variants.{name}.rank is {variant.rank}, which is not in bottleneck.ranks; add it there"
        if variant.decoder != "ridge" or variant.features != "predicted":
            yield (
                f"variants.{name} has a rank, decoder {variant.decoder} and {variant.features} features; a rank is "
                "that of a ridge's predictions, so leave out decoder and features"
            )


def _of_paths(config: schema.Config, root: Path) -> Iterator[str]:
    """Files of the chosen dataset that do not exist, and are neither written nor fetched nor read on demand alone."""
    no_captions = ("captions",) if config.paths.captions == NONE else ()
    left_out = {
        *("simulated", "show_stimuli", "adapter", "custom", "settings", "evaluation_networks"),
        *_on_demand(),
        *config.adapter.written,
        *no_captions,
        *config.fetched,
    }
    for key in sorted(MODELS):
        hint = model_files.cache_hint(root / getattr(config.paths, key)) if getattr(config.paths, key, None) else ""
        if hint:
            yield f"datasets.{config.dataset}.{key} is {getattr(config.paths, key)}; {hint}"
    for key, path in config.paths.model_dump(exclude=left_out, exclude_none=True).items():
        if not (root / path).exists():
            fix = source_files.hint(root / path, otherwise="put it there or correct the path")
            yield (
                f"datasets.{config.dataset}.{key} is {path}, which does not exist; {fix} "
                "(docs/real_data.md says where it comes from and how to have it fetched)"
            )


def _of_autoencoder(config: schema.Config, root: Path) -> Iterator[str]:
    """A checkpoint of Versatile Diffusion in one file without its autoencoder beside it."""
    diffusion = root / config.paths.versatile_diffusion
    autoencoder = diffusion.with_name(model_files.AUTOENCODER)
    if model_files.is_checkpoint(diffusion) and diffusion.is_file() and not autoencoder.is_file():
        yield (
            f"datasets.{config.dataset}.versatile_diffusion is {config.paths.versatile_diffusion}; expected "
            f"{autoencoder.name} in the same folder, so put it there (docs/model_files.md says where it comes from)"
        )


def _of_variants(config: schema.Config) -> Iterator[str]:
    """What is wrong with the backbones and decoders of variants."""
    for name, variant in config.variants.items():
        conditions = BACKBONES[variant.backbone].conditions
        if "vision" not in conditions and variant.text_weight not in (None, 1.0):
            yield (
                f"variants.{name}.text_weight is {variant.text_weight}, but {variant.backbone} reads text alone; "
                "leave text_weight out"
            )
        decoded = [*conditions.values(), *(["vdvae"] if variant.start == "stage1" else [])]
        decoder = DECODERS[variant.decoder]
        beyond = [feature for feature in decoded if not decoder.can_decode(FEATURES[feature].axes)]
        if beyond:
            yield (
                f"variants.{name}.decoder is {variant.decoder}, which cannot decode {beyond[0]}, a feature with the "
                f"axes {', '.join(FEATURES[beyond[0]].axes)}; choose another decoder"
            )


def _of_choices(config: schema.Config) -> Iterator[str]:
    """Choosers that would make scores worthless, and repeats of variants that choose."""
    metrics = {*SCORERS, *(metric for scorer in SCORERS.values() for metric in scorer.metrics)}
    expected = f"expected {messages.either(list(CHOOSERS))}"
    for name in config.choosing:
        by = config.variants[name].choose.by
        if by in metrics:
            yield (
                f"variants.{name}.choose.by is {by}, a metric that compares images with their stimuli, so that scores "
                f"of what it chose would mean nothing; {expected}, and see its row oracle for the best possible choice"
            )
        elif by in ("oracle", "stimulus", "true", "true_features"):
            yield (
                f"variants.{name}.choose.by is {by}, which looks at the stimulus; {expected}, whose tables have a row "
                "oracle of the best possible choice"
            )
        elif by not in CHOOSERS:
            yield f"variants.{name}.choose.by is {by}; {expected}; correct it"
    repeated = [name for name in config.metrics.repeated if name in config.choosing]
    if repeated:
        yield (
            f"metrics.repeated names {repeated[0]}, which chooses the best of several repeats; expected recon or "
            "variants without choose; delete it"
        )


def _on_demand() -> set[str]:
    """Keys of a dataset whose models are looked for only once something asks for them."""
    always = {feature.key for feature in FEATURES.values() if not feature.on_demand}
    always.add(BACKBONES[schema.Variant().backbone].key)
    return {record.key for record in (*FEATURES.values(), *BACKBONES.values())} - always


def _of_checkpoints(config: schema.Config, root: Path) -> Iterator[str]:
    """Files of networks that cannot be the published ones and have no description."""
    for key, n_bytes in PUBLISHED_BYTES.items():
        path = root / getattr(config.paths, key)
        if key in config.fetched or not path.is_file() or model_files.description(path):
            continue
        size, name = path.stat().st_size, path.with_suffix(".json").name
        if 0 < size < n_bytes:
            yield (
                f"datasets.{config.dataset}.{key} is {getattr(config.paths, key)}, which has {size:,} bytes, too few "
                f"for the published network, and {name}, which describes another, is not beside it; put that there or "
                "correct the path"
            )


def _of_adapter(config: schema.Config) -> Iterator[str]:
    """Problems of what tells how a dataset is read: the adapter, and the one section of files that it reads."""
    where, paths = f"datasets.{config.dataset}", config.paths
    sections = [key for key in ("nsd", "custom", "settings") if getattr(paths, key) is not None]
    if paths.adapter is not None and paths.adapter not in ADAPTERS:
        yield f"{where}.adapter is {paths.adapter}; expected {messages.either(list(ADAPTERS))}"
        return
    if paths.adapter is None and (sections not in (["nsd"], ["custom"]) or (paths.custom and paths.simulated)):
        yield f"{where} needs one of nsd and custom (and simulated: false with custom), or adapter (docs/your_data.md)"
        return
    adapter = config.adapter
    optional = {"settings"} if adapter.section == "settings" or paths.adapter_name in WITH_SETTINGS else set()
    if set(sections) - optional != {adapter.section} - optional:
        found = " and ".join(sections) or "none of nsd, custom and settings"
        yield f"{where} has {found}; the adapter {paths.adapter_name} reads {adapter.section}, so give that alone"
        return
    if paths.simulated != (paths.adapter_name == "demo"):
        yield f"{where}.simulated is {str(paths.simulated).lower()}, its adapter {paths.adapter_name}; change one"
    if adapter.settings_model is not None:
        try:
            adapter.settings_model.model_validate(paths.settings or {})
        except ValidationError as error:
            for problem in error.errors():
                key = ".".join(map(str, problem["loc"]))
                yield f"{where}.settings.{key}: {problem['msg'].lower()}; correct it"
        except ValueError as error:
            yield f"{where}.settings.{error}"


def _of_dataset(config: schema.Config, root: Path) -> Iterator[str]:
    """Problems of the chosen dataset's subjects, captions and files."""
    where, adapter = f"datasets.{config.dataset}", config.adapter
    reserved = [subject for subject in config.subjects if subject in schema.NOT_SUBJECTS]
    if reserved:
        yield f"subjects has {reserved[0]}, which is another folder of results; rename the subject"
    if config.paths.captions == NONE and config.recon.text_weight > 0:
        yield (
            f"recon.text_weight is {config.recon.text_weight}, and {where}.captions is {NONE}; without captions "
            "nothing is decoded into text, so set recon.text_weight to 0.0"
        )
    yield from adapter.problems(config)
    for key, path in adapter.files(config):
        is_written = key.removeprefix(f"{where}.{adapter.section}.") in adapter.written
        if not is_written and not matching_files(root / path):
            fix = source_files.hint(root / path, otherwise="put it there or correct the path")
            yield f"{key} is {path}, which does not exist; {fix}"


def _of_regions(config: schema.Config) -> Iterator[str]:
    """What is wrong with regions, and with what names them."""
    for name, definition in config.roi.regions.items():
        yield from _of_region(name, definition)
    definitions = config.roi.model_dump(exclude_none=True)["regions"]
    yield from rois.problems(definitions, config.nsd.rois, "roi.regions")
    yield from _of_region_names(config)
    unknown = [name for name in config.roi.brain if name not in (*schema.RESERVED, *config.variants)]
    if unknown:
        yield (
            f"roi.brain names {unknown[0]}; expected sets of images: "
            f"{', '.join((*schema.RESERVED, *config.variants))}; correct the name"
        )


def _of_region(name: str, definition: Any) -> Iterator[str]:
    """What is wrong with a region's name and form."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        yield f"roi.regions has {name}; expected a name of letters, digits, _ . + and -, so rename it"
    if name == rois.REST or name.startswith(rois.RANDOM):
        yield (
            f"roi.regions has {name}; {rois.REST} and names that begin with {rois.RANDOM} are "
            "those of controls, so rename it"
        )
    is_definition = isinstance(definition, schema.RegionDefinition)
    forms = sorted(definition.model_fields_set) if is_definition else ["intersection"]
    if forms not in (["intersection"], ["atlas", "labels"], ["mask"], ["voxels"]):
        yield (
            f"roi.regions.{name} has {' and '.join(forms) or 'no key'}; expected a list of names, or one of "
            "intersection, atlas with labels, mask, voxels"
        )


def _of_region_names(config: schema.Config) -> Iterator[str]:
    """Names of regions that are those of no region."""
    roi, known = config.roi, config.regions
    listed = {"nsd": "roi.regions", "custom": f"datasets.{config.dataset}.custom.rois"}.get(
        config.adapter.section, "the regions of the dataset"
    )
    asked = {
        "optimal": roi.optimal,
        "perturb.regions": roi.perturb.regions,
        "lesions.regions": roi.lesions.regions,
        "weights.region": [roi.weights.region],
    }
    for key, names in asked.items():
        unknown = [name for name in names if name not in (rois.ALL, *known)]
        if unknown:
            similar = get_close_matches(unknown[0], known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"add it there, or set roi.{key}"
            yield f"roi.{key} names {unknown[0]}, which is not in {listed}; {hint}"
    if roi.released_protocol and len(roi.optimal) == 1:
        yield (
            f"roi.optimal names {roi.optimal[0]} alone, and roi.released_protocol: true z-scores latents across its "
            "regions; name two or more, or set roi.released_protocol to false"
        )
