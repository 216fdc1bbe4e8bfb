"""The page for raters in a real browser: simulated raters, keys and touch, order by rater, progress, download."""

import csv
import functools
import shutil

import numpy as np
import pages
import pytest
from toy_workflow import edit_config, snakemake

from brain_diffuser.evaluation import rating_trials, ratings
from brain_diffuser.evaluation.rating_trials import CATCH
from brain_diffuser.reporting import rating_page

pytestmark = pytest.mark.long

IDS = np.arange(12, dtype=np.int32)


@pytest.fixture(scope="module")
def kit():
    return rating_trials.draw(IDS, "recon", stimuli=9, catch_trials=3, seed=0)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (len(IDS), 6, 6, 3), dtype=np.uint8) for _ in range(2)]
    return [dict(zip(IDS.tolist(), each, strict=True)) for each in made]


@pytest.fixture(scope="module")
def written(kit, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("rating") / "rating.html"
    rating_page.write(path, kit, *images, size=64, seed=0, notes=["TOY: <random> images."])
    return path


@pytest.fixture(scope="module")
def browser():
    with pages.chromium() as running:
        yield running


@pytest.fixture
def open_page(browser, written):
    with pages.watched(browser) as open_file:
        yield functools.partial(open_file, written)


def begin(page, rater):
    page.fill("#rater", rater)
    page.click("#go")


def rate(page, images, choose, n=None, press=None):
    """Answer trials as a simulated rater: `choose` gets whether it is a catch, and the ids of image and candidates."""
    stimuli, made = ({rating_page.data_uri(image, 64): number for number, image in each.items()} for each in images)
    shown = []
    while page.locator("#trial").is_visible() and (n is None or len(shown) < n):
        sources = [page.get_attribute(each, "src") for each in ("#shown", "#left img", "#right img")]
        is_catch = sources[0] in stimuli
        trial = (stimuli.get(sources[0], made.get(sources[0])), *(stimuli[each] for each in sources[1:]))
        shown.append((is_catch, *trial))
        page.wait_for_timeout(160)
        (press or press_key)(page, choose(is_catch, *trial))
    return shown


def press_key(page, side):
    page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight"}[side])


def tap(page, side):
    page.tap(f"#{side}")


def knowing(share, seed):
    """A rater who finds the stimulus in this share of trials, and always in catch trials."""
    rng = np.random.default_rng(seed)

    def choose(is_catch, own, left, right):
        is_correct = is_catch or rng.random() < share
        return "left" if (own == left) == is_correct else "right"

    return choose


def downloaded(page, button, folder):
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_simulated_raters_are_recovered_by_the_analysis(open_page, kit, images, tmp_path):
    page = open_page()
    assert page.locator(".note").first.inner_text() == "TOY: <random> images."
    begin(page, "knows")
    first = rate(page, images, knowing(1, 0))
    files = [downloaded(page, "#download", tmp_path)]
    page.click("#other")
    begin(page, "inverts")
    second = rate(page, images, knowing(0, 0))
    files.append(downloaded(page, "#download", tmp_path))
    page.click("#other")
    begin(page, "leftist")
    rate(page, images, lambda *_: "left")
    files.append(downloaded(page, "#download", tmp_path))
    rows = {row["rater"]: row for row in ratings.of_raters(ratings.read(files, kit), 0.8)}
    assert [rows["knows"][key] for key in ("trials", "correct", "catch_correct", "passed")] == [9, 9, 3, "yes"]
    assert rows["knows"]["p"] == rows["knows"]["least_p"]
    assert (rows["inverts"]["correct"], rows["inverts"]["passed"]) == (0, "yes")
    assert rows["leftist"]["left_share"] == "1"
    assert sorted(each[:2] for each in first) == sorted(each[:2] for each in second)
    assert [each[1] for each in first] != [each[1] for each in second]  # another order
    assert sum(is_catch for is_catch, *_ in first) == sum(trial.kind == CATCH for trial in kit.trials)


def test_progress_is_kept_and_the_order_is_the_raters_own(open_page, images, tmp_path):
    page = open_page()
    begin(page, "r.1")
    before = rate(page, images, knowing(1, 0), n=5)
    partial = downloaded(page, "#pause", tmp_path)
    with open(partial, newline="") as stream:
        assert [row["place"] for row in csv.DictReader(stream)] == ["1", "2", "3", "4", "5"]
    again = open_page(page.context)
    again.fill("#rater", "r.1")
    assert again.locator("#resumed").inner_text().startswith("5 of 12 trials of this id are answered")
    assert again.locator("#go").inner_text() == "Go on"
    again.click("#go")
    assert again.locator("#progress").inner_text() == "Trial 6 of 12"
    after = rate(again, images, knowing(1, 0), n=1)
    elsewhere = open_page()  # a device that knows nothing has the same order
    begin(elsewhere, "r.1")
    assert rate(elsewhere, images, knowing(1, 0), n=6) == before + after


def test_on_a_phone_all_is_in_sight_and_taps_count_once(open_page, images, tmp_path):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.click("#draw")
    assert len(page.input_value("#rater")) == 8
    page.click("#go")
    for each in ("#shown", "#left", "#right", "#pause"):
        box = page.locator(each).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
    rate(page, images, knowing(1, 0), n=2, press=tap)
    assert page.locator("#progress").inner_text() == "Trial 3 of 12"
    page.wait_for_timeout(160)
    page.evaluate("() => [1, 2].forEach(() => document.getElementById('left').click())")  # a double click
    assert page.locator("#progress").inner_text() == "Trial 4 of 12"


def test_ids_that_a_file_could_not_hold_are_not_taken(open_page):
    page = open_page()
    begin(page, "Ann, B")
    assert page.locator("#start").is_visible()


def test_the_page_does_not_say_what_is_right(written, kit):
    text = written.read_text(encoding="utf-8")
    assert kit.key in text
    assert not any(word in text for word in ("nsd_id", '"rated"', '"catch"'))


@pytest.mark.workflow
def test_a_dataset_whose_stimuli_are_not_to_be_shown_has_no_page(checkout):
    run = snakemake(checkout, "--cores", "1", "results/sub01/rating")
    assert run.returncode == 0, run.stderr
    assert {path.suffix for path in (checkout / "results/sub01/rating").glob("[!.]*")} == {".html", ".csv"}
    edit_config(checkout, "datasets.toy.show_stimuli", False)
    shutil.rmtree(checkout / "results/sub01/rating")
    run = snakemake(checkout, "-n", "results/sub01/rating")
    assert run.returncode != 0
    assert "datasets.toy.show_stimuli is false, and results/sub01/rating shows the stimuli to raters" in run.stderr
