"""Stage 1: the captions of a custom dataset's stimuli; without captions, one that says so and guides nothing."""

from brain_diffuser.data import captions, custom, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    splits = nsd_design.read_stimuli(snakemake.input.stimuli)
    names = {number: name for name, number in custom.read_ids(snakemake.input.stim_files).items()}
    known = custom.read_captions(snakemake.input.captions[0]) if snakemake.input.captions else {}
    ids = [number for stimuli in splits.values() for number in stimuli.nsd_id.tolist()]
    texts = {number: known[names[number]] if known else [custom.NO_CAPTION] for number in ids}
    captions.write_captions(snakemake.output[0], texts)
