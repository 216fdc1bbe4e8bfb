from brain_diffuser.artifacts.hdf5 import load as load_array
from brain_diffuser.artifacts.image_files import read_folder as read_images
from brain_diffuser.artifacts.tables import read_csv as read_table
from brain_diffuser.workflow.decode_betas import decode
from brain_diffuser.workflow.finished_run import load_run
from brain_diffuser.workflow.score_arrays import score

__version__: str
__all__ = ["decode", "load_array", "load_run", "read_images", "read_table", "score"]
