"""Damaged files of models: the values are those of sound ones, or a sentence says what is wrong; nothing else."""

import pytest
from damaged_models import READERS
from reliability import campaign, share

pytestmark = pytest.mark.long


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: f"{reader.name} {reader.form}")
def test_no_damage_is_silent(tmp_path, reader):
    n_copies = share(reader)
    tally = campaign(reader, tmp_path, n_copies)
    assert not tally.failures, str(tally)
    assert tally.counts.total() == n_copies
