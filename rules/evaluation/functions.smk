"""Input and parameter functions of the rules of evaluation."""

from brain_diffuser.evaluation import registry as evaluation_registry


def kinds_of(network):
    """How an evaluation network's metrics are computed."""
    metrics = evaluation_registry.SCORERS[network].metrics
    return [metric.kind for metric in metrics.values()]


def network_weights(networks):
    """The files of some evaluation networks; what is missing stops their metrics before any job, and no other stage."""
    paths = []
    for network in networks:
        of_network = evaluation_registry.network_files(
            network, cfg.metrics.protocol, PATHS.evaluation_networks, PATHS.clip
        )
        wrong = (not CONDA and evaluation_registry.package_problem(network)) or (
            evaluation_registry.file_problem(network, of_network, MADE)
        )
        if wrong:
            sys.exit(wrong)
        paths += of_network
    return local(paths)


def say_missing_packages():
    """Say which evaluation networks could not be loaded here, before hours of fetching; the run may be elsewhere."""
    for network in [] if CONDA else cfg.metrics.networks:
        wrong = evaluation_registry.package_problem(network)
        if wrong and workflow.is_main_process:
            print(f"Before the run: {wrong}", file=sys.stderr)


def perceptual_scores(sets):
    """The scores of some sets of images, as inputs scores_recon, scores_stage1, ...: one file for each scorer."""
    return {
        f"scores_{images}": [
            f"<results>/{{subject}}/perceptual_scores/{images}/{scorer}.csv"
            for scorer in SCORERS
        ]
        for images in sets
    }
