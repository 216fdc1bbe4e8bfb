"""Images reconstructed from fMRI with Brain-Diffuser, as a Snakemake workflow.

From Python, docs/python.md:

    decode(betas, run="results/sub01")   images from an array of betas, by the decoders of a finished run
    load_run("results/sub01")            what a finished run has: stimuli, predictions, images and scores with their ids
    score(images, stimuli)               the metrics of the workflow for images of your own
    load_array, read_images, read_table  a file or a folder of results

Nothing is imported before one of them is asked for.
"""

__version__ = "0.1.0"
__all__ = ["decode", "load_array", "load_run", "read_images", "read_table", "score"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """What a notebook asks for, imported when it is first asked for; scripts of jobs import modules."""
    if name == "load_array":
        from brain_diffuser.artifacts.hdf5 import load

        return load
    if name == "read_images":
        from brain_diffuser.artifacts.image_files import read_folder

        return read_folder
    if name == "read_table":
        from brain_diffuser.artifacts.tables import read_csv

        return read_csv
    # By their names, for what a job's key covers includes what an import statement imports, here too.
    modules = {"decode": "decode_betas", "load_run": "finished_run", "score": "score_arrays"}
    if name in modules:
        from importlib import import_module

        return getattr(import_module(f"brain_diffuser.workflow.{modules[name]}"), name)
    raise AttributeError(f"module brain_diffuser has no attribute {name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
