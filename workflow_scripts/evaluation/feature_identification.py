"""Identification of decoded features, in both directions, as tables and a figure."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import feature_identification, similarity
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    loaded = {feature: similarity.load(path) for feature, path in zip(params.features, inputs.similarity, strict=True)}
    nsd_id = next(iter(loaded.values())).test_id
    cluster = feature_identification.clusters_of(nsd_id, inputs.clusters, params.clusters)
    found = {feature: feature_identification.identify(of, cluster) for feature, of in loaded.items()}
    rows = feature_identification.summarise(found, params.cfg["metrics.bootstrap"], params.cfg["metrics.control_seed"])
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject}"
        feature_identification.write(folder, found, rows, nsd_id, cluster, title)
