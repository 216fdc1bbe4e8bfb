"""The report, in a real browser: nothing from outside, sorting, filtering, the enlarged view, hostile captions."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pages
import pytest
from PIL import Image

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.evaluation import registry
from brain_diffuser.features import registry as features
from brain_diffuser.reporting import (
    charts,
    figures,
    labels,
    methods,
    methods_section,
    published_scores,
    score_tables,
    stage_graph,
    stage_tables,
)
from brain_diffuser.reporting.gallery import ImageStore, Subject, of_subject
from brain_diffuser.reporting.page import write
from brain_diffuser.reporting.published_scores import PUBLISHED
from brain_diffuser.reporting.score_markdown import markdown
from brain_diffuser.workflow import resource_usage

N_STIMULI = 30
SETS = ("stage1", "recon", "without_text")
METRICS = {"pix_corr": "higher", "clip": "higher", "swav": "lower"}
DESCRIBED = registry.describe(["clip", "swav"], published_scores.published_metrics())
HOSTILE = "a dog </script><img src=x onerror=\"document.title='broken'\"> & <b>a cat</b>"
HEADER = "images metric protocol n mean low high shuffled shuffled_low shuffled_high chance better".split()


COSTS = [
    resource_usage.Cost("sub01", "ridge", 4, 0.001, 0.002, 0.0, 100.0, 5_000_000),
    resource_usage.Cost("sub01", "recon", 3, 0.5, 0.25, 0.5, 600.0, 900_000),
    resource_usage.Cost("sub02", "recon", 3, 2.0, 3.0, None, 500.0, 1_200_000_000),
]


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def make_subject(folder, name, seed):
    """A subject of coloured squares; image and scores of a stimulus follow from its id."""
    shared, rng, folder = np.random.default_rng(9), np.random.default_rng(seed), folder / name
    ids = shared.permutation(N_STIMULI).astype(np.int32) + np.int32(700)
    stimuli = np.repeat(np.repeat(shared.integers(0, 256, (N_STIMULI, 4, 4, 3), np.uint8), 8, 1), 8, 2)
    hdf5.save(folder / "nsd/stimuli_test.h5", stimuli, ids, flatten=False)
    captions = {str(each): [f"a dog on grass number {each}", f"animal {each}"] for each in ids.tolist()}
    for each in ids[: N_STIMULI // 3].tolist():
        captions[str(each)] = [f"two cats on a red sofa number {each}"]
    captions[str(ids[3])] = [HOSTILE, "second words"]
    (folder / "nsd/captions.json").write_text(json.dumps(captions), encoding="utf-8")
    retrieved = {
        str(each): [{"caption": f"near <i>{each}</i>", "nsd_id": 5, "similarity": 0.5}] for each in ids.tolist()
    }
    (folder / "retrieved.json").write_text(json.dumps(retrieved), encoding="utf-8")
    images, per_image, rows = {}, {}, [HEADER]
    for place, key in enumerate(SETS):
        images[key] = (folder / key, folder / f"{key}_manifest.tsv")
        image_files.write_folder(*images[key], zip(ids, stimuli // (place + 2), strict=True), "nsd")
        values = {metric: rng.permutation(N_STIMULI) / N_STIMULI for metric in METRICS}
        per_image[key] = folder / f"{key}.csv"
        write_csv(per_image[key], [["nsd_id", *METRICS], *zip(ids.tolist(), *values.values(), strict=True)])
        for metric, better in METRICS.items():
            mean = values[metric].mean()
            chance = 0.5 if metric == "clip" else ""
            rows.append(
                [key, metric, "brain_diffuser", N_STIMULI, mean, mean - 0.1, mean + 0.1, 0.2, 0.1, 0.3, chance, better]
            )
    rows.append(["mean_image", "pix_corr", "brain_diffuser", N_STIMULI, 0.25, "", "", "", "", "", "", "higher"])
    write_csv(folder / "scores.csv", rows)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" onload="document.title=1"><script>document.title=2</script></svg>'
    return Subject(
        name,
        folder / "nsd/stimuli_test.h5",
        folder / "nsd/captions.json",
        images,
        per_image,
        folder / "scores.csv",
        folder / "retrieved.json",
        [("a_figure.svg", "A figure <b>.", svg)],
    )


def facts_of(subjects, is_simulated=True):
    """What methods are written from; the numbers of stimuli and voxels are those of no file."""
    of_subjects = [
        methods.Subject(each.name, 1200, N_STIMULI, (1, 3), 75, 0, dict.fromkeys(methods.FEATURES, 300.0))
        for each in subjects
    ]
    settings = {
        "features": {"vdvae": {"posterior": "mean"}},
        "ridge": {"alpha": dict.fromkeys(methods.FEATURES, 300.0), "rescale": "none"},
        "stage1": {"pixel_likelihood": "mode", "temperature": 1.0, "seed": 0},
        "recon": {"steps": 50, "strength": 0.75, "guidance_scale": 2.5, "text_weight": 0.4, "seed": 0},
        "metrics": {"protocol": "brain_diffuser", "bootstrap": 2000},
    }
    return methods.Facts(settings, "nsd", is_simulated, "", of_subjects, {"numpy": "2"}, "1.0", {"clip": ["two_way"]})


def write_report(path, subjects, dataset_label=score_tables.DEMO, regions=None, guidance=None, **more):
    write(
        path,
        path.with_name("report_figures"),
        facts=facts_of(subjects, dataset_label == score_tables.DEMO),
        regions=regions or {},
        guidance=guidance or {},
        **{each: more.pop(each, {}) for each in figures.SECTIONS if each not in ("regions", "guidance")},
        dataset_label=dataset_label,
        subjects=subjects,
        settings={"dataset": "demo", "ridge": {"alpha": {"vdvae": 3000.0}}, "subjects": ["sub01"]},
        versions={"python": "3.11", "numpy": np.__version__},
        edges=[("nsd", "features"), ("nsd", "ridge"), ("features", "ridge"), ("ridge", "recon")],
        costs=COSTS,
        metrics=DESCRIBED,
        **more,
    )


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return [make_subject(folder, name, seed) for seed, name in enumerate(("sub01", "sub02"))]


@pytest.fixture(scope="module")
def written(subjects, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, subjects)
    return path


@pytest.fixture(scope="module")
def browser():
    with pages.chromium() as running:
        yield running


@pytest.fixture
def open_page(browser):
    with pages.watched(browser) as open_file:
        yield open_file


def scores_of(subject, key, metric):
    with open(subject.per_image[key], newline="", encoding="utf-8") as stream:
        return {int(row["nsd_id"]): float(row[metric]) for row in csv.DictReader(stream)}


def ids_shown(page):
    labels = page.locator(".card").evaluate_all("cards => cards.map(card => card.getAttribute('aria-label'))")
    return [int(re.match(r"Enlarge NSD (\d+):", each).group(1)) for each in labels]


def show_all(page):
    page.select_option("#view", "all")
    page.evaluate("document.querySelector('#plots').scrollIntoView()")
    page.locator(".card").nth(N_STIMULI - 1).wait_for(state="attached")


def test_costs_of_stages_and_their_sums(open_page, written):
    page = open_page(written)
    rows = page.locator(".costs tbody tr").evaluate_all("rows => rows.map(row => row.innerText.split('\\t'))")
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["sub01"],
        ["ridge", "4", "3.6 s", "7.2 s", "0 s", "105 MB", "5.0 MB"],
        ["recon", "3", "30 min", "15 min", "30 min", "629 MB", "900 kB"],
        ["total", "7", "30 min", "15 min", "30 min", "629 MB", "5.9 MB"],
        ["sub02"],
        ["recon", "3", "2.0 h", "3.0 h", "\u2013", "524 MB", "1.2 GB"],
        ["total", "3", "2.0 h", "3.0 h", "\u2013", "524 MB", "1.2 GB"],
    ]
    assert "GPUs not recorded, 1.2 GB" in page.inner_text(".costs caption")


@pytest.mark.parametrize(("key", "metric"), [("recon", "clip"), ("stage1", "pix_corr"), ("without_text", "swav")])
def test_sorting_orders_by_any_metric_of_any_set(open_page, written, subjects, key, metric):
    page = open_page(written)
    page.select_option("#set", key)
    page.select_option("#metric", metric)
    show_all(page)
    scores = scores_of(subjects[0], key, metric)
    best_first = sorted(scores, key=scores.get, reverse=METRICS[metric] == "higher")
    assert ids_shown(page) == best_first
    page.select_option("#order", "down" if METRICS[metric] == "lower" else "up")
    show_all(page)
    assert ids_shown(page) == best_first[::-1]


def test_other_subject_has_other_scores(open_page, written, subjects):
    page = open_page(written)
    page.select_option("#subject", label="sub02")
    show_all(page)
    scores = scores_of(subjects[1], "recon", "clip")
    assert ids_shown(page) == sorted(scores, key=scores.get, reverse=True)


def test_at_first_best_median_and_worst_by_a_stated_rule(open_page, written, subjects):
    page = open_page(written)
    scores = scores_of(subjects[0], "recon", "clip")
    ranked = sorted(scores, key=scores.get, reverse=True)
    assert ids_shown(page) == ranked[:4] + ranked[13:17] + ranked[-4:]
    assert page.locator("#cards h3").all_inner_texts() == ["Best", "Median", "Worst"]
    assert "the 4 best, the 4 around the median and the 4 worst" in page.inner_text("#rule")
    assert "CLIP of reconstruction" in page.inner_text("#rule")


def test_filters_by_words_and_counts(open_page, written, subjects):
    page = open_page(written)
    show_all(page)
    captions = json.loads(subjects[0].captions.read_text(encoding="utf-8"))
    sofas = {int(key) for key, words in captions.items() if "sofa" in " ".join(words)}
    page.fill("#text", "SOFA two")
    assert set(ids_shown(page)) == sofas
    assert page.inner_text("#count") == f"{len(sofas)} of {N_STIMULI} images match, {len(sofas)} shown"
    assert page.get_attribute("#count", "aria-live") == "polite"
    page.fill("#text", "no such words")
    assert page.inner_text("#count") == f"0 of {N_STIMULI} images match, 0 shown"
    page.fill("#text", "")
    chip = page.locator(".chips button", has_text=re.compile("^cat "))
    chip.click()
    assert chip.get_attribute("aria-pressed") == "true"
    assert len(ids_shown(page)) == len(sofas) + 1  # "cats" of the sofas and the "cat" of the hostile caption
    chip.click()
    assert page.inner_text("#count").startswith(f"{N_STIMULI} of {N_STIMULI}")


def test_a_click_enlarges_and_escape_returns_the_focus(open_page, written, subjects):
    page = open_page(written)
    chosen = ids_shown(page)[1]
    card = page.locator(".card").nth(1)
    small = card.locator("img").evaluate_all("images => images.map(image => image.src)")
    card.click()
    dialog = page.locator("dialog[open]")
    assert page.inner_text("#large-title") == f"NSD {chosen}"
    assert dialog.locator("#large-images img").evaluate_all("images => images.map(image => image.src)") == small
    assert dialog.locator("#large-images img").evaluate_all(
        "images => images.every(image => image.naturalWidth === 32)"
    )
    captions = json.loads(subjects[0].captions.read_text(encoding="utf-8"))[str(chosen)]
    assert page.locator("#large-captions li").all_inner_texts() == captions
    assert "near <i>" in page.inner_text("#large-retrieved")
    clip = scores_of(subjects[0], "recon", "clip")[chosen]
    assert f"{100 * clip:.1f} %" in page.locator("#large-scores tbody tr").nth(1).inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.dataset.place") == "1"


def test_keyboard_alone(open_page, written):
    page = open_page(written)
    shown = ids_shown(page)
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#large-title") == f"NSD {shown[0]}"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large-title") == f"NSD {shown[1]}"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#large-title") == f"NSD {shown[-1]}"
    assert page.inner_text("#large-place") == "12 of 12, sub01"


def test_the_images_are_those_of_their_stimulus(open_page, written, subjects):
    page = open_page(written)
    shown = ids_shown(page)[0]
    colours = (
        page.locator(".card")
        .first.locator("img")
        .evaluate_all(
            """async images => Promise.all(images.map(async image => {
            await image.decode();
            const canvas = new OffscreenCanvas(32, 32).getContext("2d");
            canvas.drawImage(image, 0, 0);
            return [...canvas.getImageData(4, 4, 1, 1).data].slice(0, 3);
        }))"""
        )
    )
    with hdf5.reading(subjects[0].stimuli) as (stimuli, nsd_id):
        seen = stimuli[int(np.flatnonzero(nsd_id == shown)[0])][4, 4]
    np.testing.assert_allclose(colours, [seen, seen // 2, seen // 3, seen // 4], atol=12)  # WebP is lossy


def test_hostile_captions_are_text(open_page, written):
    page = open_page(written)
    page.fill("#text", "onerror")
    assert page.locator(".caption").all_inner_texts() == [HOSTILE]
    page.locator(".card").click()
    assert page.locator("#large-captions li").all_inner_texts() == [HOSTILE, "second words"]
    assert page.locator('img[src="x"]').count() == 0
    assert page.title() == "DEMO: Brain-Diffuser reconstructions"
    assert "<img src=x" not in written.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(open_page, written, scheme):
    page = open_page(written, viewport={"width": 375, "height": 700}, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    first = page.locator(".examples img")
    assert all(first.nth(place).bounding_box()["y"] < 700 for place in range(3))
    width = "document.scrollingElement.scrollWidth"
    assert page.evaluate(width) <= 375
    page.locator(".card").first.click()
    assert page.evaluate(width) <= 375
    assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog'))")


def test_demo_is_marked_wherever_its_numbers_stand(open_page, written):
    page = open_page(written)
    banner = page.locator(".demo")
    assert banner.inner_text() == "DEMO: simulated brain, small models; not a scientific result"
    page.evaluate("window.scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    assert banner.bounding_box()["y"] == 0
    headings = page.locator("main h3", has_text="sub01").all_text_contents()
    assert headings
    assert all(text.startswith("DEMO: ") for text in headings)


def test_scores_of_another_dataset_never_stand_in_the_table_of_published_ones(open_page, written):
    page = open_page(written)
    assert page.locator("table.published tr.ours").count() == 0
    assert "DEMO" not in page.locator("table.published").text_content()
    assert "are not comparable with the published ones" in page.inner_text(".disclaimer")
    page.click("#published summary")
    assert page.locator("table.published tbody tr").count() == 1 + 33


def test_tables_have_headings_and_images_have_words(open_page, written):
    page = open_page(written)
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("main, nav, header").count() == 3
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
    assert page.locator(".published tbody mark", has_text="third-party").count() > 4
    assert not re.search("unverified|from memory", page.text_content("#published"))
    baseline = page.locator(".scores .apart th[scope=row]").first.text_content()
    assert baseline == "mean training imageone image for all stimuli, without a brain"


def test_nsd_has_no_banner_and_marks_other_protocols(open_page, subjects, tmp_path):
    write_report(tmp_path / "report.html", subjects[:1], dataset_label=score_tables.NSD)
    page = open_page(tmp_path / "report.html")
    assert page.locator(".demo, .tag").count() == 0
    assert "DEMO" not in page.inner_text("body")
    row = page.locator("table.published tr", has_text="ZEBRA, zero-shot").inner_text()
    assert "≠ new" in row
    assert "≠ MindEye" in row
    assert "30 test images, the published rows 982" in page.inner_text(".disclaimer")
    assert page.locator("table.published tr.ours").count() == len(SETS)


def test_examples_come_first_and_need_no_script(browser, written, subjects):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(written.as_uri())
    with hdf5.reading(subjects[1].stimuli) as (_, nsd_id):
        order = nsd_id.tolist()
    scores = scores_of(subjects[1], "recon", "clip")
    ranked = sorted(order, key=scores.get, reverse=True)
    chosen = {"Best": ranked[0], "Median": ranked[14], "Worst": ranked[-1]}
    chosen |= {f"No. {place}": order[place - 1] for place in (8, 16, 23)}  # quarters of 30, whatever their scores
    captions = page.locator(".examples").nth(1).locator("figcaption").all_text_contents()
    assert captions == [f"{title} {100 * scores[each]:.1f} %NSD {each}" for title, each in chosen.items()]
    assert "not selected: they stand a quarter, a half and three quarters down the list" in page.inner_text(".note")
    images = page.locator(".examples").first.locator("img")
    assert images.count() == 12
    assert all(images.nth(place).bounding_box()["height"] > 30 for place in range(12))
    assert images.nth(11).bounding_box()["y"] < 800
    context.close()


def test_methods_can_be_copied_with_and_without_a_clipboard(open_page, written, subjects):
    page = open_page(written)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert "Evaluation." in page.inner_text("#methods")
    page.click("[data-copy=plain]")
    page.locator("#copied", has_text="Copied.").wait_for()
    text = methods.text(facts_of(subjects))
    plain = re.sub(r"(?m)^#+ ", "", text.replace("**", ""))
    assert page.evaluate("navigator.clipboard.readText()").strip() == plain.strip()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("[data-copy=markdown]")
    page.locator("#copied", has_text="Markdown").wait_for()
    selected = "(area => area.value.slice(area.selectionStart, area.selectionEnd))(document.activeElement)"
    assert page.evaluate(selected).strip() == text.strip()


def test_the_first_sentences_say_what_was_done(subjects):
    first = " ".join(methods_section.lead(facts_of(subjects), score_tables.DEMO))
    assert "a stimulus, an image that was shown, and its reconstruction from simulated fMRI responses" in first
    assert "each of 2 simulated brains to 1,200 other images" in first
    facts = facts_of(subjects[:1], is_simulated=False)
    proxies = score_tables.DatasetLabel("HAXBY", "proxy stimuli", True)
    assert "that was shown" not in " ".join(methods_section.lead(facts, proxies))
    first = " ".join(methods_section.lead(facts, score_tables.NSD))
    assert "shown (dataset NSD, Natural Scenes Dataset), and its reconstruction from fMRI" in first
    assert "responses of one person to 1,200 other images" in first


def test_methods_as_html():
    text = (
        "# Methods\n\n**Data.** 1 < 2 (Lin et al., 2014).\n\n## References\n\n- Lin. https://arxiv.org/abs/1405.0312\n"
    )
    assert methods_section.as_html(text) == (
        "<p><strong>Data.</strong> 1 &lt; 2 (Lin et al., 2014).</p>\n"
        '<h3>References</h3><ul class="references"><li>Lin. <a href="https://arxiv.org/abs/1405.0312">'
        "https://arxiv.org/abs/1405.0312</a></li></ul>"
    )


def test_every_figure_of_the_page_is_a_file_that_it_names(written):
    folder, page = written.with_name("report_figures"), written.read_text(encoding="utf-8")
    files = {path.name for path in folder.iterdir()}
    histograms = {f"{subject}_scores_{metric}.svg" for subject in ("sub01", "sub02") for metric in METRICS}
    assert files == {"rules.svg", "sub01_a_figure.svg", "sub02_a_figure.svg"} | histograms
    assert set(re.findall('href="report_figures/([^"]+)"', page)) == files
    drawn = ElementTree.parse(folder / "sub01_scores_clip.svg").getroot()
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "bars: reconstruction; outline: stage 1" in texts
    assert float(drawn.get("height")) > 170


@pytest.mark.parametrize(
    ("row", "heads", "cells"),
    [
        ({"feature": "vdvae", "columns": "22920", "median": "0.5762"}, "feature numbers median", "22,920 0.576"),
        ({"metric": "clip", "n": "1200", "mean": "0.91234"}, "metric test stimuli mean", "1,200 91.2 %"),
        ({"metric": "swav", "mean": "0.5", "low": "0.41", "high": "0.6"}, None, "0.500 0.410 to 0.600"),
        ({"metric": "clip", "low": "0.41", "high": "0.6"}, None, "41.0 to 60.0 %"),
        ({"metric": "clip", "alpha": "10000000.0", "low": "", "high": ""}, None, "10,000,000 \N{EN DASH}"),
        (
            {"split": "far", "of": "distance 0.12345 to 0.2", "low": "0.5"},
            "split of low",
            "distance 0.12345 to 0.2 0.500",
        ),
        ({"metric": "swav", "p": "9.999e-05", "least_p": "9.999e-05"}, None, "\N{LESS-THAN OR EQUAL TO} 0.0001 0.0001"),
        ({"metric": "swav", "p": "0.01234", "least_p": "0.0001"}, None, "0.012 0.0001"),
        ({"feature": "clip_text", "measure": "top_1", "chance": "0.00833"}, None, "among the nearest 1 0.8 %"),
        ({"images": "kappa_0.3", "clip": "0.87 (+0.001 to -0.02)", "ssim": "0.4"}, None, "87.0 (+0.1 to -2.0) % 0.400"),
        ({"metric": "clip", "kappa": "0.3", "eta 0.1": ""}, None, "0.3 \N{EN DASH}"),
        ({"region": "V1", "vdvae": "50.25", "clip_text_minus_vdvae": "-3.0"}, None, "50.2 -3.0"),
    ],
)
def test_numbers_are_rounded_by_one_rule(row, heads, cells):
    table = stage_tables.arranged([row], DESCRIBED)
    assert " ".join(text for text, _ in table["rows"][0][1:]) == cells
    if heads:
        assert " ".join(text for text, _ in table["heads"]) == heads


def test_names_are_those_of_what_they_name():
    assert labels.feature("vdvae") == "VDVAE latents"
    assert labels.images("vdvae") == "stimulus through the VDVAE"
    assert labels.images("text_weight_0.2") == labels.feature("text_weight_0.2") == "text_weight_0.2"
    assert set(labels.FEATURES) <= set(features.FEATURES)
    assert labels.about_metric("clip", DESCRIBED).startswith("how often the image is nearer to its own stimulus")
    (row,) = stage_tables.arranged([{"feature": "vdvae", "images": "vdvae", "own_name": "a_b"}], DESCRIBED)["rows"]
    assert [text for text, _ in row] == ["VDVAE latents", "stimulus through the VDVAE", "a_b"]


def test_guidance_is_a_section_where_it_was_asked_for(written, subjects, tmp_path):
    assert 'id="guidance"' not in written.read_text(encoding="utf-8")
    table, sheet = tmp_path / "comparison.csv", tmp_path / "images.png"
    write_csv(table, [["images", "ssim"], ["neuraldiffuser", "0.870 (+0.001 to +0.009)"], ["<b>", "1"]])
    Image.new("RGB", (8, 8), "red").save(sheet)
    figures = [("Guided & unguided.", sheet), ("Guided sets.", table)]
    write_report(tmp_path / "report.html", subjects, guidance={"sub01": figures})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="guidance"') :].partition("</section>")[0]
    assert "<h3>DEMO: sub01</h3>" in section
    assert section.index("Guided &amp; unguided.") < section.index("Guided sets.")
    assert (tmp_path / "report_figures/sub01_guidance_images.png").read_bytes() == sheet.read_bytes()
    assert 'href="report_figures/sub01_guidance_images.png"' in section
    assert "data:image/webp;base64," in section
    assert '<td class="number">0.870 (+0.001 to +0.009)</td>' in section
    assert '<th scope="row">&lt;b&gt;</th>' in section
    assert '<a href="#guidance">' in page


def test_generalisation_is_a_section_where_there_are_further_splits(written, subjects, tmp_path):
    assert 'id="generalisation"' not in written.read_text(encoding="utf-8")
    plot = tmp_path / "by_split.svg"
    plot.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    write_report(tmp_path / "report.html", subjects, generalisation={"sub01": [("by split", plot)]})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="generalisation"') :].partition("</section>")[0]
    assert "data:image/svg+xml;base64," in section
    assert '<a href="#generalisation">' in page


def test_alarms_stand_open_with_their_rules(written, subjects, tmp_path):
    assert 'id="spurious"' not in written.read_text(encoding="utf-8")
    rows = [
        ("collapse", "ALARM", "f 0.02", "less than 0.2", "Few directions."),
        ("copies", "no alarm", "0", "1 %", "Seen."),
    ]
    tables.write_csv(tmp_path / "alarms.csv", ("alarm", "state", "value", "rule", "meaning"), rows)
    scores = tmp_path / "scores.csv"
    tables.write_csv(scores, ("images", "mean"), [("nearest_training", 0.5)])
    parts = {"spurious": [("alarms", tmp_path / "alarms.csv")], "baselines": [("scores", scores)]}
    write_report(tmp_path / "report.html", subjects, **{name: {"sub01": part} for name, part in parts.items()})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="spurious"') :].partition("</section>")[0]
    assert section.count('class="fires"') == 1
    assert "<strong>collapse: ALARM.</strong> f 0.02. Few directions." in section
    assert "Rule: 1 %." in section
    assert "Seen." not in section
    assert "best training image, by the decoded feature" in section
    assert '<a href="#spurious">' in page


def test_the_same_inputs_give_the_same_bytes(written, subjects, tmp_path):
    write_report(tmp_path / "report.html", subjects)
    assert (tmp_path / "report.html").read_bytes() == written.read_bytes()


def test_images_shrink_into_the_budget(subjects, tmp_path, caplog):
    write_report(tmp_path / "large.html", subjects)
    write_report(tmp_path / "small.html", subjects, budget_mb=0.018, thumbnail=16, large=32)
    blocks = re.compile(r'<script type="application/json" id="images-\d+">(.*?)</script>', re.DOTALL)
    large, small = (
        [each for block in blocks.findall((tmp_path / name).read_text()) for each in json.loads(block)]
        for name in ("large.html", "small.html")
    )
    assert len(large) == N_STIMULI * (1 + len(SETS))  # subjects share everything but scores
    assert sum(map(len, small)) < 0.018e6 < sum(map(len, large))
    write_report(tmp_path / "tiny.html", subjects, budget_mb=0.001)
    assert "the budget is 0" in caplog.text


def test_mismatched_inputs_are_named(subjects, tmp_path):
    subject = subjects[0]
    lines = subject.per_image["recon"].read_text().splitlines()
    short = tmp_path / "recon.csv"
    short.write_text("\n".join(lines[:-1]))
    missing = lines[-1].split(",")[0]
    with pytest.raises(
        ValueError, match=rf"recon_manifest\.tsv has 30 .*recon\.csv has 29; nsd_id {missing} is missing"
    ):
        write_report(tmp_path / "r.html", [replace(subject, per_image=subject.per_image | {"recon": short})])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv is missing; the report needs it"):
        write_report(tmp_path / "r.html", [replace(subject, scores=tmp_path / "nowhere.csv")])
    with pytest.raises(ValueError, match="sub01 has images recon but no scores per image"):
        write_report(tmp_path / "r.html", [replace(subject, per_image={"stage1": subject.per_image["stage1"]})])
    (tmp_path / "captions.json").write_text("{}")
    with pytest.raises(ValueError, match=r"captions\.json lacks nsd_id \d+ and 29 others"):
        write_report(tmp_path / "r.html", [replace(subject, captions=tmp_path / "captions.json")])
    (tmp_path / "captions.json").write_text('{"3": [')
    with pytest.raises(ValueError, match=r"captions\.json is no JSON"):
        write_report(tmp_path / "r.html", [replace(subject, captions=tmp_path / "captions.json")])
    with pytest.raises(ValueError, match="got 0 subjects"):
        write_report(tmp_path / "r.html", [])
    assert not (tmp_path / "r.html").exists()


def test_wrong_scores_are_named(tmp_path):
    row = ["recon", "clip", "brain_diffuser", 3, 0.5, "", "", "", "", "", "", "higher"]
    for wrong, words in (
        ([HEADER[:-1], row[:-1]], "lacks column better"),
        ([HEADER], "has no row"),
        ([HEADER, row, row], "has recon, clip, brain_diffuser twice"),
        ([HEADER, [*row[:4], "", *row[5:]]], "has mean '' and better 'higher'"),
        ([HEADER, [*row[:4], "half", *row[5:]]], "recon, clip: could not convert string to float: 'half'"),
    ):
        write_csv(tmp_path / "scores.csv", wrong)
        with pytest.raises(ValueError, match=words):
            score_tables.read_scores(tmp_path / "scores.csv")


def test_mean_over_subjects_and_markdown(subjects):
    text = markdown({each.name: each.scores for each in subjects}, DESCRIBED, score_tables.DEMO, PUBLISHED)
    assert "**DEMO: mean of the subjects**" in text
    assert "| mean training image | 0.250 (0.250 to 0.250) |" in text.replace("DEMO: ", "")
    published = text[text.index("**Published scores") :].splitlines()
    assert not [line for line in published[1:] if "DEMO" in line or "this run" in line]
    assert (
        "| Brain-Diffuser | 1,2,5,7 | old | 0.254 | 0.356 | 94.2 | 96.2 | 87.2 | 91.5 | 0.775 | 0.423 | yes | "
        "Ozcelik & VanRullen 2023, table 1 |" in published
    )
    assert sum("| third-party | quoted in Brain-IT's table" in line for line in published) == 3
    widths = {line.count(" |") for line in text.splitlines() if line.startswith("| DEMO") and "images" not in line}
    assert widths == {len(METRICS) + 1}
    mine = markdown({"sub01": subjects[0].scores}, DESCRIBED, score_tables.DatasetLabel("MINE", "own data"), PUBLISHED)
    assert "The scores of this run (MINE: own data) are about another brain and other images" in mine
    assert "| this run |" not in mine
    assert "MINE: sub01" not in mine
    nsd = markdown({each.name: each.scores for each in subjects}, DESCRIBED, score_tables.NSD, PUBLISHED)
    assert "DEMO" not in nsd
    assert len([line for line in nsd.splitlines() if line.endswith("| this run |")]) == 7
    assert "| NSD: reconstruction | sub01 | 30 images |" in nsd


def test_published_rows():
    rows = published_scores.read_published()
    assert {row["verified"] for row in rows} == {"yes", "third-party"}
    assert all(row["source"] and "memory" not in row["source"] for row in rows)
    assert {row["test_set"] for row in rows} == {"old", "new", "other", "unknown"}
    assert {row["protocol"] for row in rows} == {"brain_diffuser", "mindeye", "unknown"}
    assert all(0 < value < 1 for row in rows for value in row["scores"].values())
    keys = [(row["system"], row["subjects"], row["test_set"]) for row in rows]
    assert len(keys) == len(set(keys)) == 33
    paper = next(row for row in rows if row["system"] == "Brain-Diffuser" and row["test_set"] == "old")
    assert tuple(paper["scores"].values()) == (0.254, 0.356, 0.942, 0.962, 0.872, 0.915, 0.775, 0.423)


@pytest.mark.parametrize(
    ("key", "scores", "verified"),
    [
        (
            ("Brain-IT, 40 hours", "1,2,5,7", "unknown"),
            (0.386, 0.486, 0.984, 0.995, 0.973, 0.964, 0.564, 0.320),
            "yes",
        ),
        (("Brain-IT, 1 hour", "1,2,5,7", "unknown"), (0.331, 0.473, 0.971, 0.986, 0.944, 0.930, 0.648, 0.370), "yes"),
        (
            ("NeuroVLA", "1,2,5,7", "unknown"),
            (0.265, 0.357, 0.931, 0.971, 0.968, 0.975, 0.633, 0.321),
            "third-party",
        ),
        (
            ("MindTuner, 1 hour", "1,2,5,7", "unknown"),
            (0.224, 0.420, 0.878, 0.936, 0.848, 0.835, 0.780, 0.440),
            "third-party",
        ),
        (("DREAM", "mean", "unknown"), (0.274, 0.328, 0.939, 0.967, 0.934, 0.941, 0.645, 0.418), "third-party"),
        (
            ("MindHier, with MindEye2's low level", "mean", "new"),
            (0.326, 0.461, 0.959, 0.954, 0.613, 0.345),
            "third-party",
        ),
        (("MindEye1", "mean", "old"), (0.309, 0.323, 0.947, 0.978), "third-party"),  # the others nobody has read
    ],
)
def test_rows_that_were_looked_up(key, scores, verified):
    rows = published_scores.read_published()
    (row,) = (each for each in rows if (each["system"], each["subjects"], each["test_set"]) == key)
    assert (tuple(row["scores"].values()), row["verified"]) == (scores, verified)


@pytest.mark.parametrize("system", ["Psychometry", "BrainGuard", "UniBrain (Mai & Zhang)"])
def test_numbers_from_memory_are_not_shown(system):
    assert system not in {row["system"] for row in published_scores.read_published()}


@pytest.mark.parametrize(
    ("source", "verified"), [("from memory", "unverified"), ("a paper", ""), ("", "yes"), ("a paper", "Yes")]
)
def test_a_published_row_needs_a_source_that_was_read(tmp_path, subjects, source, verified):
    header, first = PUBLISHED.read_text(encoding="utf-8").splitlines()[:2]
    row = [*first.split("\t")[:-2], source, verified]
    table = tmp_path / "published.tsv"
    table.write_text(f"{header}\n" + "\t".join(row) + "\n", encoding="utf-8")
    message = re.escape(f"published.tsv: Lin et al. has source '{source}' and verified '{verified}'; expected a source")
    with pytest.raises(ValueError, match=message):
        published_scores.read_published(table)
    with pytest.raises(ValueError, match=message):
        markdown({"sub01": subjects[0].scores}, DESCRIBED, score_tables.NSD, table)


def test_layered_graph_puts_rules_below_what_they_need():
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("x", "c"), ("c", "d<"), ("a", "d<")]
    svg = stage_graph.draw(edges)
    height = {name: float(y) for y, name in re.findall(r'<text x="\d+" y="([\d.]+)">([^<]+)</text>', svg)}
    assert list(height) == ["a", "b", "c", "x", "d&lt;"]
    assert height["a"] < height["b"] == height["x"] < height["c"] < height["d&lt;"]
    assert svg.count('class="edge"') == len(edges)
    with pytest.raises(ValueError, match="run in a cycle"):
        stage_graph.draw([("a", "b"), ("b", "a")])


def test_a_stage_and_its_shards_are_one_and_no_edge_is_a_shortcut():
    edges = [("a", "b_shard"), ("b_shard", "b"), ("shared_a", "c"), ("b", "c"), ("c", "d"), ("a", "d")]
    assert stage_graph.simplified(edges) == [("a", "b"), ("b", "c"), ("c", "d")]
    with pytest.raises(ValueError, match="run in a cycle"):
        stage_graph.simplified([("a", "b"), ("b", "a")])


def test_histogram_counts_every_image():
    values = [0.1, 0.1, 0.1, 0.9]
    svg = charts.histogram(values, [], [("mean", 0.3, 0.3)], label="PixCorr", description="four images")
    heights = [float(each) for each in re.findall(r'class="bar"[^>]*height="([\d.]+)"', svg)]
    assert len(heights) == 2
    assert max(heights) == pytest.approx(3 * min(heights), rel=0.01)
    assert ">PixCorr</text>" in svg


def test_stimuli_with_files_are_called_by_them(tmp_path):
    subject = make_subject(tmp_path, "sub01", 0)
    captions = json.loads(Path(subject.captions).read_text(encoding="utf-8"))
    Path(subject.captions).write_text(json.dumps({key: ["no caption"] for key in captions}), encoding="utf-8")
    store = ImageStore([subject], 16, 32, 1e9)
    assert of_subject(subject, store)["items"][0]["name"].startswith("NSD 7")
    names = {int(number): f"set/{number}.png" for number in captions} | {5: "train/5.jpg"}
    for item in of_subject(replace(subject, names=names), store)["items"]:
        assert item["name"] == f"set/{item['id']}.png"
        assert item["captions"] == [item["name"]]
        assert item["retrieved"][0]["name"] == "train/5.jpg"
