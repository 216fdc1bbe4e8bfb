"""Records of registries are checked before any job: each slip is one sentence that names the record."""

import pytest

from brain_diffuser.decoding.decoder import plain_decoder
from brain_diffuser.decoding.registry import DECODERS
from brain_diffuser.evaluation.registry import SCORERS, Metric, Scorer
from brain_diffuser.features.registry import FEATURES
from brain_diffuser.workflow.config import messages, records

PIXELS = FEATURES["vdvae"]


def score(stimuli, images, protocol):
    return images[:, 0, 0, 0]


def test_the_shipped_records_are_sound():
    records.check()


@pytest.mark.parametrize(
    ("registry", "name", "record", "expected"),
    [
        (
            FEATURES,
            "mine",
            PIXELS._replace(reads="image"),
            'feature mine has reads="image"; expected images or captions',
        ),
        (
            FEATURES,
            "mine",
            PIXELS._replace(axes="cells"),
            "has axes='cells'; expected a tuple of names, such as (\"cells\",)",
        ),
        (FEATURES, "mine", PIXELS._replace(alpha=0.0), "has alpha=0.0; expected a penalty above 0"),
        (DECODERS, "rbf", plain_decoder("rbf2", score), "decoder rbf writes rbf2/{feature}_test.h5; expected rbf/..."),
        (
            SCORERS,
            "mine",
            Scorer({"red": Metric("red", "similarty", score)}),
            'kind "similarty"; did you mean similarity?',
        ),
        (SCORERS, "mine", Scorer({"red": Metric("red", "two_way", score)}), "compares layers of a network"),
        (SCORERS, "mine", Scorer({"ssim": Metric("red", "distance", score)}), "the name of another metric"),
        (SCORERS, "mine", Scorer({"red": Metric("red", "distance")}), "metric red of mine has no function"),
    ],
)
def test_a_slip_in_a_record_is_one_sentence(monkeypatch, registry, name, record, expected):
    monkeypatch.setitem(registry, name, record)
    with pytest.raises(ValueError, match=r"^brain_diffuser/\w+/registry\.py: ") as refused:
        records.check()
    assert expected in str(refused.value)


def test_a_file_that_no_registry_lists_is_named():
    fix = messages._fix_of_text("ridge_stream", ["ridge", "learned"])
    assert fix == "; brain_diffuser/decoding/ridge_stream.py is there, so enter it in the registry.py of its folder"
    assert messages._fix_of_text("leaned", ["ridge", "learned"]) == "; did you mean learned?"
