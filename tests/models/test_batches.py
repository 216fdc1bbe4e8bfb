"""Batches in which no image depends on the others."""

import numpy as np
import pytest
import torch

from brain_diffuser.models import batches

CASES = {
    ("cpu", torch.float32): [3, 3, 1],
    ("cuda", torch.float32): [3, 3, 1],
    ("cpu", torch.bfloat16): [1] * 7,
    ("cuda", torch.bfloat16): [3, 3, 1],
    ("cuda", torch.float16): [3, 3, 1],
    ("mps", torch.float16): [3, 3, 1],
}


@pytest.mark.parametrize(("where", "sizes"), CASES.items(), ids=str)
def test_rows_are_cut_in_order_and_a_gpu_sees_one_shape(where, sizes):
    device, dtype = where
    found = list(batches.split(range(2, 9), 3, device, dtype))
    assert [each.n_rows for each in found] == sizes
    assert [row for each in found for row in range(each.rows.start, each.rows.stop)] == list(range(2, 9))
    fixed = dtype != torch.float32 and device != "cpu"
    values = np.arange(9)
    for each in found:
        padded = each.padded_array(values[each.rows])
        assert torch.equal(each.padded(torch.from_numpy(values)[each.rows]), torch.from_numpy(padded))
        assert len(padded) == (3 if fixed else each.n_rows)
        assert set(padded[each.n_rows :]) <= {values[each.rows][-1]}


def test_one_row_at_a_time_on_a_gpu():
    found = list(batches.split(range(4), 3, "cuda", torch.float16, one_by_one=True))
    assert [(each.n_rows, each.padding) for each in found] == [(1, 0)] * 4
    assert len(list(batches.split(range(4), 3, "cuda", torch.float32, one_by_one=True))) == 2


def test_no_rows_have_no_batch():
    assert list(batches.split(range(3, 3), 2, "cuda", torch.float16)) == []
