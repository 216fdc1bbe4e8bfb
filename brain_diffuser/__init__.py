"""Images reconstructed from fMRI with Brain-Diffuser, as a Snakemake workflow."""

__version__ = "0.1.0"
