"""Stimulus, stage-1 reconstruction and reconstruction side by side, for the first test stimuli."""

from brain_diffuser.artifacts import captions, figures, hdf5
from brain_diffuser.data import stimulus_names
from brain_diffuser.evaluation import image_sets
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    folders, manifests = (inputs.stage1, inputs.recon), (inputs.stage1_manifest, inputs.recon_manifest)
    nsd_id, stimuli, sets = image_sets.load_aligned(inputs.stimuli, folders, manifests, slice(params.n_stimuli))
    texts = captions.read(inputs.captions)
    titles = (f"{params.dataset}, {snakemake.wildcards.subject}: stimulus", "stage 1", "reconstruction")
    names = stimulus_names.read(inputs.get("names", ""))
    first_captions = [stimulus_names.line(texts[stimulus], stimulus, names) for stimulus in nsd_id.tolist()]
    sheet = figures.contact_sheet(list(zip(stimuli, *sets, strict=True)), titles, first_captions)
    with hdf5.atomic(snakemake.output[0]) as part:
        sheet.save(part, format="PNG")
