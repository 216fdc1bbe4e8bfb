"""Scores of decoded features by the number of dimensions of the betas that they are decoded from."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import bottleneck
from brain_diffuser.evaluation import bottleneck_curve
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    features = dict(zip(params.features, zip(inputs.features[::2], inputs.features[1::2], strict=True), strict=True))
    rows, dimensions = bottleneck_curve.score(
        bottleneck.load(inputs.maps), features, params.ranks, cfg["metrics.bootstrap"], cfg["metrics.control_seed"]
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject}"
        bottleneck_curve.write(folder, rows, dimensions, title, params.alpha)
