"""Images reconstructed from fMRI with Brain-Diffuser, as a Snakemake workflow."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """What a notebook reads results with, imported when it is first asked for; scripts of jobs import modules."""
    if name == "load_array":
        from brain_diffuser.artifacts.hdf5 import load

        return load
    if name == "read_images":
        from brain_diffuser.artifacts.image_files import read_folder

        return read_folder
    if name == "read_table":
        from brain_diffuser.artifacts.tables import read_csv

        return read_csv
    raise AttributeError(f"module brain_diffuser has no attribute {name}")
