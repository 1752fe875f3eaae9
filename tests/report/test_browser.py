"""The report in a real browser, network off: it counts what Python counts, and every key does its work."""

import csv
import shutil

import numpy as np
import pytest

import kaggle_unet as ku
from kaggle_unet.metrics.error_types import PRED_ERROR_TYPES, TRUE_ERROR_TYPES, find_error_types
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.pixels import score_classes, tabulate_pixels
from kaggle_unet.report.gallery import make_card, make_class_card, move_pictures_out, render_report
from kaggle_unet.types import DataIssue, Sample

pytestmark = pytest.mark.browser


def draw_pair(seed, side=64):
    """Draw rectangles as truth, and a prediction of them with errors of every type."""
    rng = np.random.default_rng(seed)
    true, pred = np.zeros((2, side, side), np.int32)
    for number, (top, left) in enumerate(np.ndindex(4, 4), start=1):
        if rng.random() < 0.2:
            continue
        y, x, h, w = 16 * top + 2, 16 * left + 2, *rng.integers(6, 15, 2)
        true[y : y + h, x : x + w] = number
        pred[y + rng.integers(3) : y + h, x : x + w - rng.integers(3)] = rng.choice([number, number, number - 1, 0])
        if rng.random() < 0.2:
            pred[y : y + h // 2, x : x + w] = 100 + number
    return true, pred


PAIRS = {f"image {seed}": draw_pair(seed) for seed in range(8)} | {"empty": tuple(np.zeros((2, 64, 64), np.int32))}


def make_cards(others=None):
    cards = []
    for number, (id_, (true, pred)) in enumerate(PAIRS.items()):
        image = np.where(true > 0, 180, 20).astype(np.uint8)
        planes = {"mask": np.float32(pred > 0) * 0.8, "border": np.float32(true > 0) * 0.8}
        sample = Sample(id_, image, true, kind="dark" if number % 2 else "bright")
        other = ("runs/other", others[id_]) if others else None
        cards.append(make_card(sample, pred, planes, str(number % 3), other=other))
    return cards


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of the pairs above, as a file."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report("drawn/pairs", {"codec": "mask"}, [], make_cards()))
    return path


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[{}])
def page(request, chromium, report):
    """The report, opened from disk; it must ask for nothing else and raise nothing."""
    options = {"viewport": {"width": 1300, "height": 900}} | request.param
    context = chromium.new_context(offline=True, **options)
    page = context.new_page()
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    yield page
    context.close()
    assert faults == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert [url for url in asked if url.startswith("file")] == [report.as_uri()]


def wait_for(page, expression):
    """Wait until an expression is true; Playwright's own `wait_for_function` needs an eval, which the page forbids."""
    for _ in range(200):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"not in ten seconds: {expression}")


def counts_of(page):
    return {
        chip.get_attribute("data-kind"): int(chip.locator("b").inner_text()) for chip in page.locator(".chip").all()
    }


def figures_of(page):
    return {
        figure.get_attribute("data-key"): float(figure.locator("dd").inner_text())
        for figure in page.locator("#figures > div").all()
    }


def test_scores_and_error_types_are_those_of_python(page):
    pairs = [draw_pair(seed) for seed in range(100, 140)]
    overlaps = [count_overlap(*pair) for pair in pairs]
    arguments = [
        [o.areas_true_px.tolist(), o.areas_pred_px.tolist(), np.stack([o.true, o.pred, o.shared_px], 1).tolist()]
        for o in overlaps
    ]
    found = page.evaluate(
        """all => {
            const compared = all.map(one => scores.compare(...one));
            return {
                rows: Array.from({length: 10}, (_, n) => scores.summarize(compared, 10 + n)),
                scores: compared.map(scores.scoreOf),
                kinds: compared.map(one => [one.true, one.pred].map(
                    side => side.kind.map((_, object) => scores.kindAt(side, object, 10)))),
            };
        }""",
        arguments,
    )
    wanted = summarize(pairs, strict=True).to_dict("records")
    for row, (twentieths, other) in zip(found["rows"], enumerate(wanted, start=10), strict=True):
        assert other["threshold_iou"] == twentieths / 20
        shown = ("tp", "fp", "fn", "ap_pooled", "recall", "f1", "pq")
        assert {name: row[name] for name in shown} == pytest.approx({name: other[name] for name in shown})
    assert found["scores"] == pytest.approx([ku.score(*pair) for pair in pairs])
    for (true, pred), overlap in zip(found["kinds"], overlaps, strict=True):
        mistakes = find_error_types(overlap)
        assert true == [TRUE_ERROR_TYPES[kind] for kind in mistakes.true]
        assert pred == [PRED_ERROR_TYPES[kind] for kind in mistakes.pred]
    assert {kind for pair in found["kinds"] for side in pair for kind in side} == {*TRUE_ERROR_TYPES, *PRED_ERROR_TYPES}


def test_an_iou_at_the_threshold_itself_is_no_match_at_any_threshold(page):
    for k in range(10, 20):
        side = page.evaluate("k => scores.compare([20], [k], [[0, 0, k]]).true.level[0]", k)
        assert side == (0 if k == 10 else k - 1)


def test_the_slider_rescores_the_page_the_chips_and_the_list(page):
    for twentieths in (10, 15, 19):
        page.locator("#controls .iou").fill(str(5 * twentieths))
        table = summarize(PAIRS.values(), strict=True).iloc[twentieths - 10]
        figures, counts = figures_of(page), counts_of(page)
        for name in ("tp", "fp", "fn"):
            assert figures[name] == table[name]
        assert figures["pq"] == pytest.approx(table.pq, abs=1e-4)
        assert figures["score"] == pytest.approx(np.mean([ku.score(*pair) for pair in PAIRS.values()]), abs=1e-4)
        assert counts["found"] == table.tp
        assert counts["found"] + sum(counts[kind] for kind in ("outline", "merged", "split", "missed")) == sum(
            len(np.unique(true)) - 1 for true, _ in PAIRS.values()
        )
        row = ku.match(*PAIRS["image 3"], strict=True).iloc[twentieths - 10]
        card = page.locator("#list li", has_text="image 3").locator(".counts")
        assert f"{int(row.tp)} found" in card.inner_text() or not row.tp
    assert counts["outline"] > 0


def test_images_are_searched_filtered_and_sorted(page):
    def ids():
        return page.locator("#list .id").all_inner_texts()

    order = sorted(PAIRS, key=lambda id_: (ku.score(*PAIRS[id_]), id_))
    assert ids() == order
    page.select_option("#sort", "best score")
    assert ids()[0] == "empty"
    page.select_option("#sort", "id")
    page.select_option("#fold", "1")
    assert ids() == ["image 1", "image 4", "image 7"]
    page.locator("#search").fill("IMAGE 4")
    assert ids() == ["image 4"]
    assert page.locator("#count").inner_text() == "1 of 9 images"
    assert figures_of(page)["tp"] == ku.match(*PAIRS["image 4"], strict=True).tp[0]
    page.locator("#search").fill("")
    page.select_option("#fold", "")
    page.locator("#most").fill("0.3")
    assert sorted(ids()) == [id_ for id_ in sorted(PAIRS) if ku.score(*PAIRS[id_]) <= 0.3]
    page.locator("#most").fill("")
    page.locator(".chip[data-kind=split]").click()
    split = TRUE_ERROR_TYPES.index("split")
    assert ids() == [id_ for id_ in sorted(PAIRS) if split in find_error_types(count_overlap(*PAIRS[id_])).true]


def test_keys_open_walk_and_close_and_a_link_leads_to_an_object(page):
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    order = sorted(PAIRS, key=lambda id_: (ku.score(*PAIRS[id_]), id_))
    page.get_by_role("heading", name=order[1], exact=True).wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name=order[2], exact=True).wait_for()
    page.keyboard.press("k")
    page.wait_for_selector("#viewer-objects a")
    page.keyboard.press("n")
    page.wait_for_selector("#viewer-objects a[aria-current]")
    assert page.url.endswith(page.locator("#viewer-objects a[aria-current]").get_attribute("href"))
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert "a true object without a partner" in page.locator("#help").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    wait_for(page, "state.open < 0")
    assert not page.locator("#viewer").is_visible()
    page.evaluate("location.hash = '#image%203/p2'")
    page.wait_for_selector("#viewer-objects a[aria-current]")
    page.get_by_role("heading", name="image 3", exact=True).wait_for()
    assert page.locator("#viewer-objects a[aria-current] b").inner_text() == "p2"
    assert page.evaluate("viewer.selected") == ["pred", 1]


def test_the_canvas_shows_layers_outlines_contrast_and_a_mask(page, report):
    page.goto(report.as_uri() + "#image%203")
    wait_for(page, "viewer.shown")
    true, pred = PAIRS["image 3"]
    y, x = np.argwhere((true > 0) & (pred > 0))[0].tolist()
    colour = f"[...viewer.base.getContext('2d').getImageData({x}, {y}, 1, 1).data].slice(0, 3)"
    assert page.evaluate(colour) == [255, 255, 255]
    page.keyboard.press("2")
    assert page.evaluate(colour) == [204, 204, 204]  # 0.8 of 255
    page.keyboard.press("m")
    assert page.evaluate(colour) == [102, 212, 162]
    page.locator("[data-option=threshold]").fill("81")
    assert page.evaluate(colour) == [204, 204, 204]
    page.keyboard.press("m")
    page.locator("[data-option=brightest]").fill("204")
    assert page.evaluate(colour) == [255, 255, 255]
    ids = page.evaluate("[...viewer.shown.ids.pred]")
    assert len(np.unique(ids)) == len(np.unique(pred))
    np.testing.assert_array_equal(np.reshape(ids, (64, 64)) > 0, pred > 0)
    before = page.evaluate("viewer.view.zoom")
    page.locator("#canvas").hover()
    page.mouse.wheel(0, -300)
    wait_for(page, f"viewer.view.zoom > {before}")
    shot = page.locator("#canvas").screenshot()
    page.keyboard.press("t")
    assert page.locator("#canvas").screenshot() != shot


def test_a_click_on_an_object_or_its_point_selects_it(page, report):
    page.goto(report.as_uri() + "#image%203")
    wait_for(page, "viewer.shown")
    true, _ = PAIRS["image 3"]
    y, x = np.argwhere(true == true.max()).mean(axis=0).tolist()
    view = page.evaluate("viewer.view")
    page.locator("#canvas").click(
        position={"x": view["x"] + (x + 0.5) * view["zoom"], "y": view["y"] + (y + 0.5) * view["zoom"]}
    )
    page.wait_for_selector("#viewer-objects a[aria-current]")
    assert page.url.endswith(f"#image%203/t{len(np.unique(true)) - 1}")
    page.keyboard.press("Escape")
    wait_for(page, "state.open < 0")
    page.locator("[data-view=objects]").click()
    point = page.evaluate("({x: points.x[0], y: points.y[0]})")
    page.locator("#scatter").click(position={"x": point["x"], "y": point["y"]})
    page.wait_for_selector("#viewer-objects a[aria-current]")


def test_the_objects_of_a_selection_are_saved_as_csv(page, tmp_path):
    page.locator(".chip[data-kind=missed]").click()
    with page.expect_download() as caught:
        page.locator("#csv").click()
    caught.value.save_as(tmp_path / "x.csv")
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    missed = TRUE_ERROR_TYPES.index("missed")
    assert len(rows) == sum((find_error_types(count_overlap(*pair)).true == missed).sum() for pair in PAIRS.values())
    for row in rows:
        true = np.unique(PAIRS[row["id"]][0], return_inverse=True)[1].reshape(64, 64)
        box = slice(int(row["top"]), int(row["bottom"])), slice(int(row["left"]), int(row["right"]))
        assert (true[box] == int(row["object"])).sum() == int(row["area_px"])


def test_two_predictions_are_compared_object_by_object(chromium, tmp_path):
    others = {id_: true.copy() for id_, (true, _) in PAIRS.items()}
    others["image 3"] = np.zeros((64, 64), np.int32)
    path = tmp_path / "report.html"
    path.write_text(render_report("t", {}, [], make_cards(others)))
    page = chromium.new_page()
    page.goto(path.as_uri())
    found = ku.match(*PAIRS["image 3"], strict=True).tp[0]
    counts = counts_of(page)
    assert counts["gained"] == found > 0
    table = summarize(PAIRS.values(), strict=True)
    assert counts["lost"] == table.fn[0] - ku.match(*PAIRS["image 3"], strict=True).fn[0]
    gains = [ku.score(true, pred) - ku.score(true, others[id_]) for id_, (true, pred) in PAIRS.items()]
    assert figures_of(page)["change"] == pytest.approx(np.mean(gains), abs=1e-4)
    page.locator(".chip[data-kind=gained]").click()
    assert page.locator("#list .id").all_inner_texts() == ["image 3"]
    page.evaluate("location.hash = '#image%203'")
    wait_for(page, "viewer.shown")
    assert page.locator("#viewer-objects", has_text="found, gained").is_visible()
    page.keyboard.press("o")
    assert page.evaluate("viewer.options.other")
    page.keyboard.press("Escape")
    page.locator(".chip[data-kind=gained]").click()
    extra = PRED_ERROR_TYPES.index("extra")
    extras = sum((find_error_types(count_overlap(*pair)).pred == extra).sum() for pair in PAIRS.values())
    assert counts_of(page)["new extra"] == extras > 0
    assert counts_of(page)["gone extra"] == 0


def test_extra_objects_of_one_of_two_runs_are_listed_and_those_of_both_are_not(chromium, tmp_path):
    true, pred, other = (np.zeros((64, 64), np.int32) for _ in range(3))
    true[2:12, 2:12] = pred[2:12, 2:12] = other[2:12, 2:12] = 1
    pred[20:30, 20:30] = 2
    other[21:31, 20:30] = 2  # the same extra object, a little lower
    pred[40:50, 2:12] = 3
    other[40:50, 40:50] = 3
    card = make_card(Sample("a", np.zeros((64, 64), np.uint8), true), pred, other=("runs/other", other))
    page, read = open_page(chromium, tmp_path, render_report("t", {}, [], [card]))
    counts = counts_of(page)
    assert (counts["extra"], counts["new extra"], counts["gone extra"]) == (2, 1, 1)
    page.locator(".chip[data-kind='gone extra']").click()
    page.locator("[data-view=objects]").click()
    assert page.locator("#objects-rows td").all_inner_texts() == ["a o3", "gone extra", "100", "0.000"]
    page.locator("#objects-rows a").click()
    page.wait_for_selector("#viewer-objects a[aria-current]")
    rows = page.locator("#viewer-objects a").all_inner_texts()
    assert [row.split(" ·")[0] for row in rows] == [
        "p2 extra",
        "p3 extra, new extra",
        "o3 gone extra",
        "t1 found",
        "p1 found",
    ]
    assert page.evaluate("viewer.box") == [40, 40, 50, 50]
    assert read() == []


def test_images_without_a_fold_are_a_choice_of_their_own(chromium, tmp_path):
    cards = make_cards()
    for card in cards[:2]:
        card["data"]["fold"] = ""
    page, read = open_page(chromium, tmp_path, render_report("t", {}, [], cards))
    page.select_option("#fold", "(none)")
    assert page.locator("#list .id").count() == 2
    page.select_option("#fold", "")
    assert page.locator("#list .id").count() == len(cards)
    assert read() == []


def open_page(chromium, folder, text, **options):
    """Open a page; return it, and a function that lists its errors."""
    (folder / "report.html").write_text(text)
    page, faults = chromium.new_context(offline=True, **options).new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((folder / "report.html").as_uri())
    return page, lambda: faults


def draw_classes(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, (8, 8)).repeat(8, 0).repeat(8, 1).astype(np.int32)
    pred = np.where(rng.random((64, 64)) < 0.3 * seed, 1, true % 3).astype(np.int32)
    true[:4] = 255
    return true, pred


NAMES = ("soil", "water", "ice")
LEGEND = dict(zip(NAMES, ("#806040", "#0000ff", "#c0ffff"), strict=True))


def test_classes_are_browsed_with_the_scores_of_python(chromium, tmp_path):
    pairs = {f"land {seed}": draw_classes(seed) for seed in range(3)}
    scores = {id_: score_classes(*pair, NAMES) for id_, pair in pairs.items()}
    cards = [
        make_class_card(
            Sample(id_, np.full((64, 64, 3), 90, np.uint8), true),
            pred,
            scores[id_],
            {"soil": np.float32(pred == 0)},
            "0",
        )
        for id_, (true, pred) in pairs.items()
    ]
    page, read = open_page(chromium, tmp_path, render_report("land", {}, [], cards, legend=LEGEND))
    values, rows = tabulate_pixels([score.confusion for score in scores.values()], NAMES)
    shown = figures_of(page)
    assert shown["score"] == pytest.approx(np.mean([score.mean for score in scores.values()]), abs=1e-4)
    assert (shown["iou"], shown["accuracy"]) == pytest.approx((values["iou"], values["accuracy"]), abs=1e-4)
    chips = {
        chip.get_attribute("data-kind"): float(chip.locator("b").inner_text()) for chip in page.locator(".chip").all()
    }
    assert chips == pytest.approx(dict(zip(NAMES, rows.iou[:3], strict=True)), abs=1e-3)
    page.select_option("#sort", "worst ice")
    worst = min(scores, key=lambda id_: scores[id_].ious[2])
    assert page.locator("#list .id").first.inner_text() == worst
    assert not page.locator("[data-view=objects]").is_visible()
    page.locator("#list a").first.click()
    wait_for(page, "viewer.shown")
    true, pred = pairs[worst]
    (y, x), (far, _) = np.argwhere((true != pred) & (true < 3))[0].tolist(), np.argwhere(true == 255)[0].tolist()
    assert page.evaluate(f"[...viewer.filled.getContext('2d').getImageData({x}, {y}, 1, 1).data]") == [0, 0, 255, 255]
    assert page.evaluate(f"viewer.filled.getContext('2d').getImageData(0, {far}, 1, 1).data[3]") == 0
    assert page.locator("#layer option").all_inner_texts() == [
        "1 image",
        "2 soil",
        "3 true classes",
        "4 predicted classes",
    ]
    page.keyboard.press("3")
    colour = bytes.fromhex(LEGEND[NAMES[true[y, x]]][1:])
    assert page.evaluate(f"[...viewer.base.getContext('2d').getImageData({x}, {y}, 1, 1).data]") == [*colour, 255]
    assert page.locator("#viewer-objects li").count() == 3
    assert read() == []


def test_a_store_shows_targets_and_weights_on_one_scale(chromium, tmp_path):
    cards = []
    for id_, (true, _) in PAIRS.items():
        weights = {"weights": np.full((64, 64), 6 if id_ == "image 3" else 3, np.float32)}
        issue = (DataIssue(id_, "overlapping masks", 5, "given to the smaller one"),) if id_ == "image 1" else ()
        sample = Sample(id_, np.zeros((64, 64), np.uint8), true, data_issues=issue)
        cards.append(make_card(sample, planes={"mask": np.float32(true > 0)}, weights=weights))
    page, read = open_page(chromium, tmp_path, render_report("store", {}, [], cards))
    assert not page.locator("#controls").is_visible()
    page.select_option("#thumbnails", "weights")
    assert page.locator("#list-scale b").all_inner_texts() == ["0", "6"]
    page.evaluate("location.hash = '#image%203/t1'")
    wait_for(page, "viewer.shown")
    page.keyboard.press("3")
    first = "[...viewer.base.getContext('2d').getImageData(0, 0, 1, 1).data]"
    assert page.evaluate(first) == [252, 255, 164, 255]  # the end of the scale
    assert page.locator("#scale b").all_inner_texts() == ["0", "6"]
    page.locator("#canvas").hover()
    assert page.locator("#pixel").inner_text().endswith(": 6")
    page.evaluate("location.hash = '#image%204'")
    wait_for(page, "viewer.shown && $('viewer-title').textContent == 'image 4'")
    wait_for(page, f"{first}[0] < 252")
    page.keyboard.press("Escape")
    page.locator("#search").fill("overlapping")
    assert page.locator("#list .id").all_inner_texts() == ["image 1"]
    page.locator("#search").fill("")
    page.locator("[data-view=objects]").click()
    assert page.locator("#objects-count").inner_text().endswith("objects, least filled first")
    assert read() == []


def test_predictions_without_truth_are_browsed_too(chromium, tmp_path):
    cards = []
    for id_, (_, pred) in PAIRS.items():
        cards.append(make_card(Sample(id_, np.zeros((64, 64), np.uint8)), pred))
    (tmp_path / "report.html").write_text(render_report("t", {}, [], cards))
    page, faults = chromium.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    page.select_option("#sort", "most predicted objects")
    most = max(PAIRS, key=lambda id_: len(np.unique(PAIRS[id_][1])))
    n_objects = len(np.unique(PAIRS[most][1])) - 1
    assert page.locator("#list .counts").first.inner_text() == f"{n_objects} objects"
    assert not page.locator("#chips").is_visible()
    page.locator("[data-view=objects]").click()
    page.evaluate(f"location.hash = '#{most}/p1'")
    page.wait_for_selector("#viewer-objects a[aria-current]")
    assert page.locator("#viewer-objects a").count() == n_objects
    assert faults == []


def test_pictures_beside_the_page_are_loaded_when_they_are_shown(chromium, tmp_path):
    cards = make_cards()
    for number, card in enumerate(cards):
        move_pictures_out(card, tmp_path / "run#1 50%_files" / f"{number}.js")
    (tmp_path / "run#1 50%_files" / "5.js").unlink()
    path = tmp_path / "run#1 50%.html"
    path.write_text(render_report("t", {}, [], cards))
    page = chromium.new_page()
    page.goto(path.as_uri() + "#image%203")
    wait_for(page, "viewer.shown")
    assert page.evaluate("[...viewer.shown.ids.pred].filter(id => id).length") == (PAIRS["image 3"][1] > 0).sum()
    page.keyboard.press("Escape")
    missing = page.locator("#list li", has_text="image 5")
    missing.get_by_text("5.js is missing; keep it beside this page").wait_for()


CONTRAST = """() => {
    const luminance = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
            .map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = node => {
        for (let at = node; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const bad = [];
    for (const node of document.querySelectorAll("body *")) {
        const text = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
        if (!text || !node.getClientRects().length || node.closest("svg, script")) continue;
        const [a, b] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4.5) bad.push(node.outerHTML.slice(0, 80));
    }
    const nameless = [...document.querySelectorAll("button, input, select, canvas[role=img], dialog, section, nav")]
        .filter(node => !(node.labels?.[0]?.textContent || node.textContent).trim() && !node.ariaLabel);
    return [bad, nameless.map(node => node.outerHTML)];
}"""


@pytest.mark.parametrize(
    "page",
    [
        {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
        for scheme in ("light", "dark")
        for width in (390, 1300)
    ],
    indirect=True,
)
def test_text_has_contrast_controls_have_names_and_nothing_is_wider_than_the_screen(page):
    page.locator("summary").click()
    for state in ("images", "objects", "run", "viewer", "help"):
        if state == "viewer":
            page.evaluate("location.hash = '#image%203/t1'")
            page.wait_for_selector("#viewer-objects a[aria-current]")
        elif state == "help":
            page.keyboard.press("?")
        else:
            page.locator(f"[data-view={state}]").click()
        assert page.evaluate(CONTRAST) == [[], []]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
