"""Input and parameter functions of the rules of evaluation."""


def kinds_of(network):
    """How an evaluation network's metrics are computed."""
    metrics = evaluation_registry.SCORERS[network].metrics
    return [metric.kind for metric in metrics.values()]


def network_weights(networks):
    """The files of some evaluation networks; what is missing stops their metrics before any job, and no other stage."""
    paths = []
    for network in networks:
        package = evaluation_registry.SCORERS[network].requires
        name = package.partition("==")[0]
        if package and not CONDA and find_spec(name) is None:
            sys.exit(
                f"evaluation network {network} needs {name}, which is not installed; run pip install {package}, let "
                f"Snakemake make its environments (--sdm conda), or leave {network} out of metrics.networks"
            )
        of_network = evaluation_registry.network_files(
            network, cfg.metrics.protocol, PATHS.evaluation_networks, PATHS.clip
        )
        missing = [path for path in of_network if not Path(path).exists()]
        if missing and "evaluation_networks" not in cfg.fetched:
            sys.exit(
                f"evaluation network {network} needs {missing[0]}, which does not exist; put it there, let it be "
                f"fetched (fetch.models: true), or leave {network} out of metrics.networks (docs/real_data.md)"
            )
        paths += of_network
    return local(paths)


def perceptual_scores(sets):
    """The scores of some sets of images, as inputs scores_recon, scores_stage1, ...: one file for each scorer."""
    return {
        f"scores_{images}": [
            f"<results>/{{subject}}/perceptual_scores/{images}/{scorer}.csv"
            for scorer in SCORERS
        ]
        for images in sets
    }
