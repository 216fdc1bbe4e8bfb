"""Memory that ridge takes, by shapes alone: rules ask for it before there is anything to read."""

PROCESS_BYTES = 300 * 2**20  # of the interpreter with its libraries


def in_voxel_space(n_train: int, n_columns: int) -> bool:
    """Whether a kernel is made of products of voxels: from here on it is smaller, and no solution takes longer."""
    return n_train >= 2 * n_columns


def of_kernel(n_train: int, n_test: int, n_columns: int, itemsize: int = 8, column_block: int = 2048) -> int:
    """Bytes that `ridge.kernel` takes.

    Parameters
    ----------
    n_train, n_test : int
        Stimuli.
    n_columns : int
        Voxels, or features for an encoding model.
    itemsize : int
        Bytes of a number.
    column_block : int
        Columns that are read at a time.
    """
    numbers = min(column_block, n_columns) * (n_train + n_test)
    if in_voxel_space(n_train, n_columns):
        numbers += (n_train + n_test + n_columns) * n_columns
    else:
        numbers += (n_train + 2 * n_test) * n_train
    return PROCESS_BYTES + numbers * itemsize


def of_spectrum(n_train: int, n_columns: int, itemsize: int = 8) -> int:
    """Bytes that the eigendecomposition of a kernel takes: three matrices of its size, and the vectors.

    Parameters
    ----------
    n_train : int
        Stimuli.
    n_columns : int
        Voxels.
    itemsize : int
        Bytes of a number.
    """
    rows = min(n_train, n_columns) if in_voxel_space(n_train, n_columns) else n_train
    return PROCESS_BYTES + (3 * rows**2 + rows * n_train) * itemsize
