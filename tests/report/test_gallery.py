"""The report is one page that tells the truth about every prediction."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from pandas import DataFrame
from PIL import Image

from kaggle_unet.metrics.score import score_image
from kaggle_unet.report.gallery import make_card, render_report
from kaggle_unet.types import Sample

VOID = {"meta", "img", "link", "br"}


class Outline(HTMLParser):
    """Collects tags, texts and pictures, and checks that every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.pictures = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.texts.append(" ".join(data.split()))


def square(*boxes):
    labels = np.zeros((40, 40), np.int32)
    for number, (top, left, size) in enumerate(boxes, start=1):
        labels[top : top + size, left : left + size] = number
    return labels


TRUE = square((2, 2, 10), (20, 20, 10), (2, 25, 8))


def card_of(id_, pred, *, kind="", fold="0", true=TRUE):
    image = np.where(true > 0, 180, 20).astype(np.uint8)
    planes = np.stack([pred > 0, pred == 1]).astype(np.float32)
    return make_card(
        Sample(id_, image, true, kind=kind), pred, planes, ("mask", "border"), score_image(true, pred), fold
    )


def decode(picture):
    data = base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_the_worst_prediction_comes_first_and_equals_follow_their_ids():
    cards = [card_of("b", TRUE), card_of("bad", square((30, 0, 5))), card_of("a", TRUE)]
    articles = [attrs["id"] for tag, attrs in Outline(render_report("t", {}, [], cards)).tags if tag == "article"]
    assert articles == ["bad", "a", "b"]


def test_the_numbers_of_a_row_are_those_of_its_score():
    pred = square((2, 2, 10), (20, 20, 8), (32, 32, 5))  # IoU 1, 0.64, 0: one of three missed, one extra
    page = render_report("t", {}, [], [card_of("a", pred)])
    numbers = re.findall(r"<li[^>]*><b>(\d+)</b> (\w+)</li>", page)
    assert numbers == [("3", "true"), ("3", "predicted"), ("2", "found"), ("1", "missed"), ("1", "extra")]
    assert "tp <b>1</b> fp <b>2</b> fn <b>2</b>" in page
    # 2 / 4 at the three thresholds below 0.64, 1 / 5 at the seven above
    assert f"{(3 * 2 / 4 + 7 * 1 / 5) / 10:.4f}" in Outline(page).texts


def test_error_types_and_oracle_fixes_are_shown_if_they_are_known():
    areas = DataFrame([{"area_px": "50–99", "objects": 7, "bias_px": 0.125}])
    fixed = DataFrame([{"error_type": "outlines", "score": 0.75, "gain": 0.25}])
    tables = {"areas": areas, "fixed": fixed}
    texts = Outline(render_report("t", {}, [], [card_of("a", TRUE)], tables)).texts
    for said in ("Error types by area", "area px", "50–99", "Oracle fixes", "error type", "outlines", "0.7500"):
        assert said in texts
    assert "Oracle fixes" not in Outline(render_report("t", {}, [], [card_of("a", TRUE)])).texts


def test_partners_share_a_colour_and_what_has_none_is_white():
    pred = square((32, 32, 5), (20, 20, 8), (2, 2, 10))
    pictures = Outline(render_report("t", {}, [], [card_of("a", pred)])).pictures
    assert [picture["alt"] for picture in pictures] == [
        "image of a",
        "truth of a",
        "prediction of a",
        "mask of a",
        "border of a",
    ]
    truth, prediction = decode(pictures[1]), decode(pictures[2])
    factor = truth.shape[0] // 40
    for y, x in ((5, 5), (25, 25)):
        np.testing.assert_array_equal(truth[y * factor, x * factor], prediction[y * factor, x * factor])
        assert truth[y * factor, x * factor].min() < 255
    assert not np.array_equal(truth[5 * factor, 5 * factor], truth[25 * factor, 25 * factor])
    assert truth[5 * factor, 28 * factor].tolist() == [255, 255, 255]
    assert prediction[34 * factor, 34 * factor].tolist() == [255, 255, 255]


def test_a_partner_needs_more_than_half_of_what_either_covers():
    pictures = Outline(render_report("t", {}, [], [card_of("a", square((2, 8, 10)), true=square((2, 2, 10)))])).pictures
    truth, prediction = decode(pictures[1]), decode(pictures[2])
    factor = truth.shape[0] // 40
    assert truth[5 * factor, 4 * factor].tolist() == prediction[5 * factor, 16 * factor].tolist() == [255, 255, 255]


def test_totals_are_means_over_images_and_sums_over_objects():
    texts = Outline(render_report("t", {}, [], [card_of("a", TRUE), card_of("b", TRUE * 0)])).texts
    assert texts[texts.index("mean score") - 1] == "0.5000"
    assert texts[texts.index("true objects") - 1] == "6"
    assert texts[texts.index("missed (3)") - 1] == "50.0%"
    assert texts[texts.index("extra (0)") - 1] == "0.0%"


def test_image_types_are_compared_where_there_are_several():
    one = render_report("t", {}, [], [card_of("a", TRUE, kind="dark")])
    two = render_report("t", {}, [], [card_of("a", TRUE, kind="dark"), card_of("b", TRUE * 0, kind="bright")])
    assert "By image type" not in one
    texts = Outline(two).texts
    begin = texts.index("By image type")
    assert texts[begin + 6 : begin + 11] == ["bright", "1", "0.0000", "100.0%", "–"]


def test_folds_are_a_table_and_their_history_a_picture():
    history = [{"epoch": 1.0, "train_loss": 1.0, "valid_loss": 1.0, "valid_score": 0.5}]
    folds = [{"fold": 0, "score": 0.51234, "history": history}, {"fold": 1, "seconds": 61.26}]
    page = Outline(render_report("t", {}, folds, []))
    begin = page.texts.index("Folds")
    assert page.texts[begin + 1 : begin + 10] == ["fold", "score", "seconds", "0", "0.5123", "–", "1", "–", "61.3"]
    assert [picture["alt"] for picture in page.pictures] == ["loss and score, fold 0"]


def test_all_text_is_escaped():
    evil = "<script>alert(1)</script>"
    page = render_report(evil, {evil: evil}, [{evil: evil}], [card_of(evil, TRUE, kind=evil, fold=evil)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_the_page_needs_nothing_from_outside():
    page = render_report("t", {"config": "c.yaml"}, [{"fold": 0}], [card_of("a", TRUE)])
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in Outline(page).pictures)
    assert not re.search(r"https?://|url\(|<link|<script", page)


def test_a_page_without_samples_says_what_to_do():
    texts = Outline(render_report("empty", {}, [], [])).texts
    assert "There are no validated samples: train a fold, then run kaggle-unet report again." in texts


@pytest.mark.parametrize("true", [TRUE, TRUE * 0])
def test_images_without_objects_are_shown_like_others(true):
    page = render_report("t", {}, [], [card_of("a", TRUE * 0, true=true)])
    assert len(Outline(page).pictures) == 5


def test_large_images_are_shrunk_and_their_labels_too():
    true = np.zeros((700, 1400), np.int32)
    true[100:400, 200:800] = 1
    page = render_report("t", {}, [], [card_of("big", true, true=true)])
    assert {decode(picture).shape for picture in Outline(page).pictures} == {(128, 256, 3)}
    assert len(page) < 60_000


def test_a_row_without_truth_is_our_own_mistake():
    blind = Sample("a", np.zeros((40, 40), np.uint8))
    with pytest.raises(AssertionError, match="sample 'a' has no labels"):
        make_card(blind, TRUE, np.zeros((0, 40, 40), np.float32), (), score_image(TRUE, TRUE))


def test_an_object_that_vanishes_when_the_picture_shrinks_is_still_counted():
    true = np.zeros((700, 700), np.int32)
    true[10:100, 10:100] = 1
    pred = true.copy()
    pred[301, 301] = 2  # a lone pixel, predicted and lost at a third of the size
    image = np.where(true > 0, 180, 20).astype(np.uint8)
    planes = np.stack([pred > 0]).astype(np.float32)
    card = make_card(Sample("large", image, true), pred, planes, ("mask",), score_image(true, pred))
    assert re.search(r"<b>1</b> extra", render_report("t", {}, [], [card]))
