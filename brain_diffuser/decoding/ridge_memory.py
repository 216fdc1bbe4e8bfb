"""Memory that ridge takes, by shapes alone: rules ask for it before there is anything to read."""

PROCESS_BYTES = 300 * 2**20  # of the interpreter with its libraries


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
    numbers = (min(column_block, n_columns) + min(n_train, n_columns)) * (n_train + n_test)
    if n_train > n_columns:
        numbers += n_columns**2
    else:
        numbers += n_test * n_train
    return PROCESS_BYTES + numbers * itemsize
