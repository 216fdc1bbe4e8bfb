"""Input and parameter functions of the rules of features."""

from brain_diffuser.models import model_files


def files_of_feature(feature):
    """The files that a feature's network is read from."""
    return model_of("feature", feature, FEATURE_RECORDS[feature])


def settings_of_feature(feature):
    """The dotted path of a feature's own settings, if it has any that a job depends on."""
    return [f"features.{feature}"] if feature in SETTINGS["features"] else []


def image_size(wildcards):
    """The files that tell the size of Versatile Diffusion's images."""
    paths = model_files.image_size(PATHS.versatile_diffusion)
    return source(f"datasets.{cfg.dataset}.versatile_diffusion", paths)


def to_be_hashed(paths):
    """Paths for a cache, which cannot hash a folder unless a job writes it, so the files of a folder stand for it."""
    if not workflow.enable_cache or (PATHS.simulated and MADE.issuperset(paths)):
        return local(paths)
    files = [sorted(filter(Path.is_file, Path(path).rglob("*"))) for path in paths]
    return local(
        [file for path, inside in zip(paths, files) for file in inside or [path]]
    )


def parts_of_features(wildcards):
    """The shards of a split's features, or the one array that subjects share."""
    folder = SHARED_FOLDERS.get(wildcards.subject)
    if folder and wildcards.split == "test":
        return [f"<results>/{folder}/features/{wildcards.feature}_test.h5"]
    return of_shards("features", SHARD_OF_FEATURES)(wildcards)
