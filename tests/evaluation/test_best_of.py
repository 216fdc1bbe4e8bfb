"""The best of several samples: what choosers compute, which sample wins, and what the table says of it."""

import numpy as np
import pytest
from PIL import Image
from toy_workflow import N_TEST, edit_config, planned, snakemake

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.evaluation import best_of
from brain_diffuser.evaluation.scores import ImageScores, PerImage
from brain_diffuser.workflow.config import schema, variants

IDS = np.arange(40, dtype=np.int32)


@pytest.fixture
def embeddings(tmp_path):
    """Decoded embeddings, and those of three samples; the second is near for even stimuli, the third for odd ones."""
    rng = np.random.default_rng(0)
    decoded = rng.standard_normal((40, 5, 6)).astype(np.float32)
    samples = [rng.standard_normal((40, 5, 6)).astype(np.float32) for _ in range(3)]
    for place, remainder in ((1, 0), (2, 1)):
        near = IDS % 2 == remainder
        samples[place][near] = (3 * decoded + samples[place])[near]
    for name, values in (("decoded", decoded), *((f"sample_{n}", each) for n, each in enumerate(samples))):
        hdf5.save(tmp_path / f"{name}.h5", values, IDS, axes=("tokens", "dim"))
    return decoded, samples, [tmp_path / f"sample_{n}.h5" for n in range(3)]


def test_the_decoded_embedding_chooses_by_the_cosine_of_unit_tokens(embeddings, tmp_path):
    decoded, samples, paths = embeddings
    nsd_id, found = best_of.by_decoded(tmp_path / "decoded.h5", paths)
    a = decoded / np.linalg.norm(decoded, axis=2, keepdims=True)
    for place, sample in enumerate(samples):
        b = sample / np.linalg.norm(sample, axis=2, keepdims=True)
        np.testing.assert_allclose(found[:, place], (a * b).sum((1, 2)) / 5, atol=1e-6)
    assert nsd_id.tolist() == IDS.tolist()
    assert best_of.winners(found).tolist() == [1 + number % 2 for number in IDS.tolist()]


def test_embeddings_of_another_size_are_refused(embeddings, tmp_path):
    hdf5.save(tmp_path / "other.h5", np.ones((40, 5, 7), np.float32), IDS, axes=("tokens", "dim"))
    with pytest.raises(ValueError, match=r"other\.h5 has embeddings of \(5, 7\), .* of \(5, 6\)"):
        best_of.by_decoded(tmp_path / "decoded.h5", [tmp_path / "other.h5"])


def test_predicted_betas_choose_by_the_correlation_of_z_scored_patterns(tmp_path):
    rng = np.random.default_rng(0)
    mean, std = rng.standard_normal(30).astype(np.float32), rng.uniform(1, 5, 30).astype(np.float32)
    z = rng.standard_normal((40, 30))
    made = {"measured": z, "far": rng.standard_normal((40, 30)), "near": z + rng.standard_normal((40, 30))}
    for name, values in made.items():
        hdf5.save(tmp_path / f"{name}.h5", (values * std + mean).astype(np.float32), IDS)
    paths = [tmp_path / "far.h5", tmp_path / "near.h5"]
    _, found = best_of.by_predicted_betas(tmp_path / "measured.h5", paths, mean, std)
    expected = [[np.corrcoef(z[row], made[name][row])[0, 1] for name in ("far", "near")] for row in range(40)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"has 30 voxels, .* 30, the kernel 29"):
        best_of.by_predicted_betas(tmp_path / "measured.h5", paths, mean[1:], std[1:])


def test_more_samples_never_choose_worse_by_the_chooser_and_keep_what_still_wins():
    found = np.random.default_rng(0).standard_normal((100, 16))
    four, sixteen = best_of.winners(found[:, :4]), best_of.winners(found)
    rows = np.arange(100)
    assert (found[rows, sixteen] >= found[rows, four]).all()
    assert (sixteen[sixteen < 4] == four[sixteen < 4]).all()
    assert best_of.winners(np.array([[np.nan, 1, 1], [np.nan] * 3])).tolist() == [1, 0]


def test_the_images_are_those_of_the_winners(tmp_path):
    folders, manifests = [], []
    for number in range(3):
        images = ((row, np.full((4, 4, 3), 50 * number + row, np.uint8)) for row in range(5))
        folders.append(tmp_path / str(number))
        manifests.append(tmp_path / f"{number}.tsv")
        image_files.write_folder(folders[-1], manifests[-1], images, "nsd")
    chosen = np.array([2, 0, 1, 2, 0])
    made = dict(best_of.images(chosen, np.arange(5, dtype=np.int32), folders, manifests))
    assert [int(made[row][0, 0, 0]) for row in range(5)] == [100, 1, 52, 103, 4]
    Image.new("RGB", (4, 4)).save(folders[1] / "nsd00002.png")
    with pytest.raises(ValueError, match="the image changed"):
        list(best_of.images(chosen, np.arange(5, dtype=np.int32), folders, manifests))


def scored(rng, rho, n=3000, n_samples=8):
    """Scores of a metric that a chooser knows with a correlation, and the chooser's."""
    of_stimulus, noise = rng.standard_normal((n, 1)), rng.standard_normal((n, n_samples))
    chooser = rho * noise + np.sqrt(1 - rho**2) * rng.standard_normal((n, n_samples))
    return of_stimulus + noise, 2 * rng.standard_normal((n, 1)) + chooser


@pytest.mark.parametrize("kind", ["similarity", "distance"])
def test_the_gain_is_what_theory_says(kind):
    """Of 8 samples: correlation times the spread within a stimulus times 1.42, the mean maximum of 8 normal numbers."""
    values, found = scored(np.random.default_rng(0), 0.4)
    sign = -1 if kind == "distance" else 1
    ids = np.arange(len(values), dtype=np.int32)
    samples = [ImageScores(ids, [PerImage("m", kind, sign * column, column)]) for column in values.T]
    rows = best_of.summarise(
        samples, best_of.winners(found), found, protocol="p", dependent=["clip"], n_resamples=50, seed=0
    )
    by_set = {row["images"]: row for row in rows}
    assert list(by_set) == [best_of.FIRST, best_of.MEAN, best_of.CHOSEN, best_of.ORACLE]
    assert float(by_set[best_of.CHOSEN]["gain"]) == pytest.approx(0.4 * 1.4236, abs=0.05)
    assert float(by_set[best_of.ORACLE]["gain"]) == pytest.approx(1.4236, abs=0.03)
    assert float(by_set[best_of.CHOSEN]["agreement"]) == pytest.approx(0.4, abs=0.02)
    assert float(by_set[best_of.MEAN]["gain"]) == 0
    assert float(by_set[best_of.CHOSEN]["mean"]) == pytest.approx(
        sign * values[ids, best_of.winners(found)].mean(), abs=1e-6
    )
    assert float(by_set[best_of.CHOSEN]["gain_low"]) > 0


def test_the_table_marks_metrics_of_the_choosers_network_and_the_oracle(tmp_path):
    values, found = scored(np.random.default_rng(0), 0.5, n=20, n_samples=3)
    found[0, 0] = np.nan
    values[1, 1] = np.nan  # an image that does not vary
    ids = np.arange(20, dtype=np.int32)
    each = [
        ImageScores(ids, [PerImage("clip", "two_way", column, column), PerImage("ssim", "similarity", column, column)])
        for column in values.T
    ]
    best_of.write_choice(tmp_path / "choice.csv", ids, found)
    nsd_id, chosen, again = best_of.read_choice(tmp_path / "choice.csv")
    np.testing.assert_allclose(again, found, rtol=1e-7)
    rows = best_of.summarise(each, chosen, again, protocol="p", dependent=["clip"], n_resamples=20, seed=0)
    assert {row["n"] for row in rows} == {19}
    best_of.write_tables(tmp_path, rows, {"clip": ["CLIP", "two_way"], "ssim": ["SSIM", "similarity"]}, "T", "betas")
    text = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert "| CLIP * % |" in text
    assert "| SSIM |" in text
    assert "oracle, which sees the stimulus" in text
    assert nsd_id.tolist() == ids.tolist()


RECON = {"steps": 50, "strength": 0.75, "text_weight": 0.4, "seed": 0}
GUIDANCE = {"kappa": 1.0, "layer_weights": [], "without": [], "sag_scale": 0.0}


def algebra(**named):
    sections = {name: schema.Variant.model_validate(section) for name, section in named.items()}
    return variants.Variants(sections, schema.Variant(), RECON, GUIDANCE, [1, 2])


def test_samples_are_shared_and_nested():
    choose = {"of": 3, "by": "decoded"}
    made = algebra(
        draft={"steps": 25},
        best={"choose": choose},
        more={"choose": {"of": 5, "by": "predicted_betas"}},
        of_draft={"steps": 25, "choose": choose},
        own={"strength": 0.9, "choose": choose},
        guided={"guidance": {}, "choose": choose},
    )
    assert made.samples_of("best") == ("recon", "seed_1", "seed_2")
    assert made.samples_of("more")[:3] == made.samples_of("best")
    assert made.samples_of("of_draft") == ("draft", "draft.seed_1", "draft.seed_2")
    assert made.samples_of("own") == ("own.seed_0", "own.seed_1", "own.seed_2")
    assert made.samples_of("guided") == ("guided.seed_0", "guided.seed_1", "guided.seed_2")
    assert [made.variant(name)[1]["seed"] for name in made.samples_of("own")] == [0, 1, 2]
    assert "choose" not in made.variant("own")[1]
    assert made.unguided_of("guided") == "best"


def test_images_that_choose_are_no_samples():
    found = variants.variant_regex(["", "own", "draft"], ["own"])
    assert schema.variant_regex(["own"]) == r"own(?:\.seed_\d+)?"
    matching = [
        name for name in ("own", "own.seed_0", "draft", "draft.seed_2", "seed_1") if variants.re.fullmatch(found, name)
    ]
    assert matching == ["own.seed_0", "draft", "draft.seed_2", "seed_1"]


@pytest.mark.workflow
def test_the_workflow_chooses_among_repeats_and_makes_nothing_else_again(checkout):
    choose = {"best": "decoded", "near": "predicted_betas"}
    edit_config(checkout, "variants", {name: {"choose": {"of": 2, "by": by}} for name, by in choose.items()})
    assert planned(checkout) == set()
    targets = [f"results/sub01/variants/{name}/best_of" for name in choose]
    run = snakemake(checkout, "--cores", "2", *targets)
    assert run.returncode == 0, run.stderr
    of_subject = checkout / "results/sub01"
    samples = [of_subject / "recon", of_subject / "variants/seed_1/recon"]
    for name in choose:
        nsd_id, chosen, found = best_of.read_choice(of_subject / f"variants/{name}/choice.csv")
        assert len(nsd_id) == N_TEST
        for number, place, values in zip(nsd_id.tolist(), chosen.tolist(), found, strict=True):
            image = f"nsd{number:05d}.png"
            assert place == values.argmax()
            assert (of_subject / f"variants/{name}/recon" / image).read_bytes() == (samples[place] / image).read_bytes()
        rows = tables.read_csv(of_subject / f"variants/{name}/best_of/scores.csv")
        scores = {(row["images"], row["metric"]): row for row in rows}
        own = tables.read_csv(of_subject / "metrics/scores.csv")
        for row in (row for row in own if row["images"] == "recon"):
            assert float(scores[best_of.FIRST, row["metric"]]["mean"]) == pytest.approx(float(row["mean"]), abs=1e-6)
        for (images, _), row in scores.items():
            assert float(row["gain"]) >= (0 if images == best_of.ORACLE else -1)
        assert scores[best_of.CHOSEN, "clip"]["independent"] == "no"
    edit_config(checkout, "variants.best.choose.of", 3)  # one more sample: no other is made again
    assert planned(checkout, targets[0]) == {
        *("variant:seed_2", "brain_vision:seed_2", "pixels:seed_2", "perceptual_scores:seed_2"),
        *("best_of:best", "best_of_scores:best"),
    }
