"""Trials for raters are balanced and blind; the analysis recovers what simulated raters prefer."""

import csv
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, kstest, spearmanr

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import rating_trials, ratings
from brain_diffuser.evaluation.rating_trials import CATCH, RATED
from brain_diffuser.workflow import ratings as command

IDS = np.arange(1000, 1060, dtype=np.int32)


def kit_of(stimuli="all", catch_trials=10, seed=0):
    return rating_trials.draw(IDS, "recon", stimuli=stimuli, catch_trials=catch_trials, seed=seed)


def write_answers(path, kit, rater, is_correct, seed=0):
    """What a page gives out, of a rater who is correct where a function of the trial says so."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, trial in enumerate(rng.permutation(np.array(kit.trials, object)).tolist(), 1):
        trial = rating_trials.Trial(*trial)
        left, right = rng.permutation(["a", "b"]).tolist()
        wrong = "b" if trial.right == "a" else "a"
        chosen = trial.right if is_correct(trial, rng) else wrong
        rows.append((kit.key, rater, place, trial.name, left, right, chosen, 900 + place))
    tables.write_csv(path, ratings.COLUMNS, rows)
    return path


def test_every_rated_stimulus_is_once_right_and_once_the_other_candidate():
    kit = kit_of(stimuli=40)
    rated = [trial for trial in kit.trials if trial.kind == RATED]
    caught = [trial for trial in kit.trials if trial.kind == CATCH]
    assert (len(rated), len(caught)) == (40, 10)
    assert {trial.nsd_id for trial in rated} == {trial.other_id for trial in rated} <= set(IDS.tolist())
    assert len({trial.nsd_id for trial in rated}) == 40
    assert all(trial.nsd_id != trial.other_id for trial in kit.trials)
    assert len({trial.nsd_id for trial in caught}) == 10


def test_names_and_sides_say_nothing_and_draws_are_seeded(tmp_path):
    kit = kit_of()
    kinds = [trial.kind == CATCH for trial in kit.trials]  # in the order of names
    assert 0 < np.flatnonzero(kinds).mean() / len(kinds) < 1
    assert 15 < Counter(trial.right for trial in kit.trials)["a"] < 55
    assert kit == kit_of()
    assert kit.key != kit_of(seed=1).key
    rating_trials.write(tmp_path / "trials.csv", kit)
    assert rating_trials.read(tmp_path / "trials.csv") == kit
    assert sum(trial.kind == CATCH for trial in kit_of(catch_trials=100).trials) == len(IDS)


def test_the_analysis_recovers_preferences_and_leaves_out_who_fails(tmp_path):
    kit = kit_of()
    scores = {number: np.random.default_rng(number).standard_normal() for number in IDS.tolist()}

    def attentive(trial, rng):
        return trial.kind == CATCH or rng.random() < 1 / (1 + np.exp(-2 - 3 * scores[trial.nsd_id]))

    files = [write_answers(tmp_path / f"{n}.csv", kit, f"r{n}", attentive, n) for n in range(8)]
    files.append(write_answers(tmp_path / "random.csv", kit, "careless", lambda trial, rng: rng.random() < 0.5, 99))
    answers = ratings.read(files, kit)
    raters = ratings.of_raters(answers, 0.8)
    passed = ratings.names_of_passed(raters)
    assert passed == {f"r{n}" for n in range(8)}
    stimuli = ratings.of_stimuli([each for each in answers if each.rater in passed])
    expected = np.mean([1 / (1 + np.exp(-2 - 3 * value)) for value in scores.values()])
    together = ratings.pooled(8, stimuli, 999, 0)
    assert together.low < expected < together.high
    assert together.share == pytest.approx(np.mean([float(row["share"]) for row in raters[:8]]), abs=1e-6)
    assert together.test.p < 0.01

    table = tmp_path / "per_image.csv"
    header = ("nsd_id", "ssim", "swav", "noise")  # of swav lower is better
    rng = np.random.default_rng(0)
    tables.write_csv(table, header, ((n, value, -value, rng.random()) for n, value in scores.items()))
    found = {row["metric"]: row for row in ratings.agreement(stimuli, table, 999, 0)}
    correlation = spearmanr([float(row["share"]) for row in stimuli], [scores[row["nsd_id"]] for row in stimuli])[0]
    assert (
        float(found["ssim"]["correlation"])
        == pytest.approx(correlation, abs=1e-5)
        == float(found["swav"]["correlation"])
    )
    assert float(found["ssim"]["p"]) == 0.001
    assert float(found["noise"]["p"]) > 0.01


def test_p_of_a_rater_counts_all_swaps_and_is_valid_without_a_preference():
    swaps = 1 - 2 * ((np.arange(2**9)[:, None] >> np.arange(9)) & 1)
    for correct in range(10):
        sums = swaps.sum(1)
        assert ratings.p_of_swaps(correct, 9) == pytest.approx((sums >= 2 * correct - 9).mean())
    drawn = np.random.default_rng(0).binomial(400, 0.5, 1000)
    p = np.array([ratings.p_of_swaps(int(each), 400) for each in drawn])
    assert kstest(p, "uniform").statistic < 0.07  # of steps of 4 %
    assert all((p <= level).mean() <= level + 3 * np.sqrt(level / 1000) for level in (0.01, 0.05, 0.2))
    assert binom.sf(-1, 9, 0.5) == 1


@pytest.mark.parametrize(
    ("line", "column", "value", "sentence"),
    [
        (2, "kit", "other", "line 2 is an answer to kit 'other', and the trials are those of kit"),
        (3, "rater", "", "line 3 has no rater"),
        (3, "trial", "t9999", "line 3 answers trial 't9999', which the kit does not have"),
        (4, "chosen", "left", "chosen 'left'; expected a and b, and one of them"),
        (4, "left", "b", "has left 'b', right 'b'|has left 'b', right 'a'"),
        (5, "milliseconds", "fast", "milliseconds is 'fast'; expected a number"),
        (3, "trial", "again", "answers trial t.* a second time"),
    ],
)
def test_malformed_answers_are_refused_in_a_sentence(tmp_path, line, column, value, sentence):
    kit = kit_of()
    path = write_answers(tmp_path / "answers.csv", kit, "r", lambda trial, rng: True)
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    row = rows[line - 2]
    if column == "left":
        row["left"] = row["right"]
        sentence = f"has left '{row['right']}', right '{row['right']}'"
    else:
        row[column] = rows[0]["trial"] if value == "again" else value
    tables.write_csv(path, ratings.COLUMNS, (each.values() for each in rows))
    with pytest.raises(ValueError, match=sentence):
        ratings.read([path], kit)


def test_the_command_writes_tables_and_says_what_is_wrong_in_a_line(tmp_path, capsys):
    kit = kit_of()
    folder = tmp_path / "results/sub01/rating"
    folder.mkdir(parents=True)
    rating_trials.write(folder / "trials.csv", kit)
    path = write_answers(tmp_path / "a.csv", kit, "r1", lambda trial, rng: trial.kind == CATCH or rng.random() < 0.8)
    scores = folder.parent / "metrics/per_image_recon.csv"
    tables.write_csv(scores, ("nsd_id", "ssim"), ((n, n / 2000) for n in IDS.tolist()))
    options = ["--kit", str(folder), "--permutations", "99"]
    assert command.main([str(path), *options]) == 0
    said = capsys.readouterr().out
    assert "| r1 | 60 of 60 |" in said
    assert "| SSIM | 60 |" in said
    assert "1 rater who passed: " in said
    assert {each.name for each in (tmp_path / "results/sub01/rating_answers").iterdir()} == set(command.WRITTEN)
    for arguments, sentence in (
        ([str(path), str(path)], "a second time"),
        ([str(tmp_path / "no.csv")], "no.csv is missing"),
        ([str(path), "--catch", "80"], "--catch is 80; expected a share from 0 to 1"),
        ([str(path), "--out", str(tmp_path)], "which this command did not write"),
        ([str(scores)], "lacks column kit"),
    ):
        assert command.main([*arguments, *options]) == 1
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
