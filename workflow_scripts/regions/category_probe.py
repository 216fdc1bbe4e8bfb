"""Which category an evaluation network sees in optimal images, and how reliably it sees them."""

from brain_diffuser.artifacts import captions, hdf5
from brain_diffuser.evaluation import registry
from brain_diffuser.models import devices
from brain_diffuser.regions import category_probe
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    protocol, folder = cfg["metrics.protocol"], params.evaluation_networks
    network = registry.load(params.network, protocol, folder, params.clip, device)
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        category_probe.write(
            folder,
            network.first_features,
            dict(params.categories),
            captions.read(inputs.captions),
            {"train": inputs.train, "test": inputs.test},
            {name: (inputs[name], inputs[f"{name}_manifest"]) for name in ("optimal", "recon")},
        )
