"""The report is one page that tells the truth about every prediction."""

import base64
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pandas import DataFrame
from PIL import Image

from kaggle_unet.masks.labels import relabel
from kaggle_unet.metrics.pixels import score_classes
from kaggle_unet.report import gallery
from kaggle_unet.report.gallery import _totals, make_card, make_class_card, move_pictures_out, render_report
from kaggle_unet.report.plots import plot_curves
from kaggle_unet.steps import report
from kaggle_unet.types import Sample

VOID = {"meta", "img", "link", "br", "input"}


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
        if data.strip() and self.open[-1] not in {"style", "script"}:
            self.texts.append(" ".join(data.split()))


def square(*boxes):
    labels = np.zeros((40, 40), np.int32)
    for number, (top, left, size) in enumerate(boxes, start=1):
        labels[top : top + size, left : left + size] = number
    return labels


TRUE = square((2, 2, 10), (20, 20, 10), (2, 25, 8))


def card_of(id_, pred, *, kind="", fold="0", true=TRUE, single=False):
    image = np.where(true > 0, 180, 20).astype(np.uint8)
    planes = {"mask": np.float32(pred > 0), "border": np.float32(pred == 1)}
    return make_card(Sample(id_, image, true, kind=kind), pred, planes, fold, single=single)


def data_of(page):
    """Read the images that a page holds as data, and the pictures of each."""
    images = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["images"]
    pictures = re.findall(r'id="pictures-\d+">(.*?)</script>', page, re.DOTALL)
    return images, [json.loads(text) for text in pictures]


def decode(uri):
    data = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


def paint(text, shape):
    runs, shift = [0], 0
    for byte in base64.b64decode(text):
        runs[-1] += (byte & 127) << shift
        shift = shift + 7 if byte > 127 else 0
        runs += [0] * (byte < 128)
    labels, at = np.zeros(shape[0] * shape[1], np.int32), 0
    for skipped, length, id_ in zip(runs[0:-1:3], runs[1::3], runs[2::3], strict=True):
        at += skipped
        labels[at : at + length] = id_
        at += length
    return labels.reshape(shape)


def test_the_worst_prediction_comes_first_and_equals_follow_their_ids():
    cards = [card_of("b", TRUE), card_of("bad", square((30, 0, 5))), card_of("a", TRUE)]
    images, pictures = data_of(render_report("t", {}, [], cards))
    assert [image["id"] for image in images] == ["bad", "a", "b"]
    np.testing.assert_array_equal(paint(pictures[0]["labels"]["pred"], (40, 40)), square((30, 0, 5)))


def test_areas_and_shared_pixels_of_every_pair_are_data():
    pred = square((2, 2, 10), (20, 22, 10), (32, 32, 5))
    ((image,), _) = data_of(render_report("t", {}, [], [card_of("a", pred, kind="dark")]))
    assert (image["fold"], image["kind"], image["size"]) == ("0", "dark", [40, 40])
    assert image["areas"] == {"true": [100, 100, 64], "pred": [100, 100, 25]}
    assert image["pairs"] == {"pred": [[0, 0, 100], [1, 1, 80]]}
    assert image["boxes"]["pred"] == [[2, 2, 12, 12], [20, 22, 30, 32], [32, 32, 37, 37]]


def test_all_that_counts_as_one_object_is_one():
    ((image,), (pictures,)) = data_of(render_report("t", {}, [], [card_of("a", TRUE, single=True)]))
    assert image["areas"] == {"true": [264], "pred": [264]}
    np.testing.assert_array_equal(paint(pictures["labels"]["true"], (40, 40)), TRUE > 0)


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4)))
def test_runs_hold_every_label(labels):
    dense = relabel(labels)
    _, (pictures,) = data_of(render_report("t", {}, [], [card_of("a", labels, true=labels)]))
    np.testing.assert_array_equal(paint(pictures["labels"]["true"], labels.shape), dense)


def test_images_are_lossless_and_planes_have_hundredths():
    _, (pictures,) = data_of(render_report("t", {}, [], [card_of("a", TRUE)]))
    image = decode(pictures["image"])
    assert image.shape == (40, 40, 3)
    assert set(np.unique(image)) == {0, 255}  # stretched
    mask, step = pictures["planes"]["mask"]
    np.testing.assert_array_equal(decode(mask)[..., 0] * step, np.where(TRUE > 0, 1, 0))
    assert list(pictures["planes"]) == ["mask", "border"]


def test_a_plane_is_thresholded_exactly_at_whole_hundredths():
    plane = np.linspace(0, 1, 1600, dtype=np.float16).reshape(40, 40).astype(np.float32)
    sample = Sample("a", np.zeros((40, 40), np.uint8))
    _, (pictures,) = data_of(render_report("t", {}, [], [make_card(sample, TRUE, {"mask": plane})]))
    levels = decode(pictures["planes"]["mask"][0])[..., 0]
    for hundredths in range(1, 101):
        np.testing.assert_array_equal(levels >= hundredths, plane >= np.float32(hundredths / 100))


def test_error_types_and_oracle_fixes_are_shown_if_they_are_known():
    areas = DataFrame([{"area_px": "50–99", "objects": 7, "bias_px": 0.125}])
    fixed = DataFrame([{"error_type": "outlines", "score": 0.75, "gain": 0.25}])
    tables = {"areas": areas, "fixed": fixed}
    texts = Outline(render_report("t", {}, [], [card_of("a", TRUE)], tables)).texts
    for said in ("Error types by area", "area px", "50–99", "Oracle fixes", "error type", "outlines", "0.7500"):
        assert said in texts
    assert "Oracle fixes" not in Outline(render_report("t", {}, [], [card_of("a", TRUE)])).texts


def test_totals_are_means_over_images_and_sums_over_objects():
    texts = Outline(render_report("t", {}, [], [card_of("a", TRUE), card_of("b", TRUE * 0)])).texts
    assert texts[texts.index("mean score") - 1] == "0.5000"
    assert texts[texts.index("true objects") - 1] == "6"
    assert texts[texts.index("predicted objects") - 1] == "3"


def test_image_types_are_compared_where_there_are_several():
    one = render_report("t", {}, [], [card_of("a", TRUE, kind="dark")])
    two = render_report("t", {}, [], [card_of("a", TRUE, kind="dark"), card_of("b", TRUE * 0, kind="bright")])
    assert "By image type" not in one
    texts = Outline(two).texts
    begin = texts.index("By image type")
    assert texts[begin + 1 : begin + 7] == ["type", "images", "score", "bright", "1", "0.0000"]


def test_folds_are_a_table_and_their_history_a_picture():
    history = [{"epoch": 1.0, "train_loss": 1.0, "valid_loss": 1.0, "valid_score": 0.5}]
    folds = [{"fold": 0, "score": 0.51234}, {"fold": 1, "seconds": 61.26}]
    page = Outline(render_report("t", {}, folds, [], plots={"loss and score": plot_curves(history, "svg")}))
    begin = page.texts.index("Folds")
    assert page.texts[begin + 1 : begin + 10] == ["fold", "score", "seconds", "0", "0.5123", "–", "1", "–", "61.3"]
    assert [picture["alt"] for picture in page.pictures] == ["loss and score"]
    assert page.pictures[0]["src"].startswith("data:image/svg+xml;base64,")


def test_all_text_is_escaped():
    evil = "</script><script>alert(1)</script>"
    page = render_report(evil, {evil: evil}, [{evil: evil}], [card_of(evil, TRUE, kind=evil, fold=evil)])
    assert "<script>alert" not in page
    assert data_of(page)[0][0]["id"] == evil


def test_the_page_needs_nothing_from_outside():
    page = render_report("t", {"config": "c.yaml"}, [{"fold": 0}], [card_of("a", TRUE)])
    assert "default-src 'none'; img-src data:" in page
    assert not re.search(r"""https?://|url\(|<link|(src|href)=["'](?!data:)""", page)


def test_a_page_without_samples_says_what_to_do():
    texts = Outline(render_report("empty", {}, [], [])).texts
    assert "There are no validated samples: train a fold, then run kaggle-unet report again." in texts


@pytest.mark.parametrize("true", [TRUE, TRUE * 0])
def test_images_without_objects_are_shown_like_others(true):
    ((image,), (pictures,)) = data_of(render_report("t", {}, [], [card_of("a", TRUE * 0, true=true)]))
    assert image["areas"]["pred"] == image["pairs"]["pred"] == []
    assert pictures["labels"]["pred"] == ""


def test_large_images_are_shrunk_and_their_labels_too_but_not_their_numbers(monkeypatch):
    monkeypatch.setattr(gallery, "MAX_SIDE_PX", 256)
    true = np.zeros((700, 1400), np.int32)
    true[100:400, 200:800] = 1
    true[699, 1399] = 2  # lost at a fifth of the size
    ((image,), (pictures,)) = data_of(render_report("t", {}, [], [card_of("big", true, true=true)]))
    assert (image["size"], image["shown"]) == ([700, 1400], [128, 256])
    assert image["areas"]["true"] == [180_000, 1]
    assert decode(pictures["image"]).shape == (128, 256, 3)
    assert decode(pictures["planes"]["mask"][0]).shape == (128, 256, 3)
    assert paint(pictures["labels"]["true"], (128, 256)).max() == 1


def test_a_prediction_without_truth_is_shown_alone():
    blind = Sample("a", np.zeros((40, 40), np.uint8))
    page = render_report("t", {}, [], [make_card(blind, TRUE)])
    ((image,), (pictures,)) = data_of(page)
    assert (image["areas"], list(pictures["labels"])) == ({"pred": [100, 100, 64]}, ["pred"])
    assert "mean score" not in page


def test_a_second_prediction_is_compared_with_the_truth_too():
    image = np.where(TRUE > 0, 180, 20).astype(np.uint8)
    second = square((2, 2, 10))
    card = make_card(Sample("a", image, TRUE), TRUE, other=("runs/b", second))
    assert card["gain"] == pytest.approx(1 - 1 / 3)
    ((data,), (pictures,)) = data_of(render_report("t", {}, [], [card]))
    assert (data["areas"]["other"], data["pairs"]["other"]) == ([100], [[0, 0, 100]])
    assert data["pairs"]["both"] == [[0, 0, 100]]
    np.testing.assert_array_equal(paint(pictures["labels"]["other"], (40, 40)), second)


def test_pictures_may_lie_beside_the_page(tmp_path):
    card = card_of("a", TRUE)
    pictures = card["pictures"]
    move_pictures_out(card, tmp_path / "report_files" / "1.js")
    page = render_report("t", {}, [], [card])
    assert "pictures-0" not in page
    assert "script-src 'unsafe-inline' 'self' file:" in html.unescape(page)
    text = (tmp_path / "report_files" / "1.js").read_text()
    assert text == f'takePictures("report_files/1.js", {pictures})'
    assert data_of(page)[0][0]["src"] == "report_files/1.js"


def test_targets_are_shown_without_a_prediction_and_weights_on_the_scale_of_all_images():
    cards = [
        make_card(
            Sample(id_, np.zeros((40, 40), np.uint8), TRUE), weights={"weights": np.full((40, 40), top, np.float32)}
        )
        for id_, top in (("a", 2.5), ("b", 12))
    ]
    page = render_report("t", {"folds": "one\ntwo"}, [], cards)
    images, pictures = data_of(page)
    assert [image["high"] for image in images] == [2.5, 12]
    assert [image["areas"] for image in images] == [{"true": [100, 100, 64]}] * 2
    for found, top in zip(pictures, (2.5, 12), strict=True):
        levels, step = found["weights"]["weights"]
        np.testing.assert_allclose(decode(levels)[..., 0] * step, top)
    assert '"high": 12' in page
    assert "mean score" not in page
    assert "<pre>one\ntwo</pre>" in page


def test_classes_are_their_confusion_and_their_labels():
    true, pred = np.arange(40 * 40).reshape(40, 40) % 3, np.full((40, 40), 1)
    true[0] = 255
    score = score_classes(true, pred, ("soil", "water", "ice"))
    planes = {"soil": np.zeros((40, 40), np.float32)}
    card = make_class_card(
        Sample("a", np.zeros((40, 40), np.uint8), np.int32(true)), np.int32(pred), score, planes, "1"
    )
    page = render_report("t", {}, [], [card], legend={"soil": "#112233", "water": "#445566", "ice": "#ffffff"})
    ((image,), (pictures,)) = data_of(page)
    assert image["confusion"] == score.confusion.tolist()
    np.testing.assert_array_equal(paint(pictures["labels"]["true"], (40, 40)), true)
    np.testing.assert_array_equal(paint(pictures["labels"]["pred"], (40, 40)), pred)
    texts = Outline(page).texts
    assert texts[texts.index("mean score") - 1] == f"{score.mean:.4f}"
    assert "true objects" not in texts
    assert '"layers": ["image", "soil", "true classes", "predicted classes"]' in page


def test_a_score_that_begins_a_bar_is_in_it():
    cards = [{**card_of("a", TRUE), "score": score} for score in np.arange(0, 11) / 10]
    assert _totals(cards)["bars"] == [1] * 9 + [2]


def test_pictures_beside_a_page_stay_until_the_next_page_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_IN_PAGE", 2)

    def labelled(value, ids):
        for id_ in ids:
            yield Sample(id_, np.full(TRUE.shape, value, np.uint8)), TRUE
        if len(ids) < 3:
            raise KeyboardInterrupt

    def pictures():
        return {file.name: file.read_bytes() for file in (tmp_path / "page_files").iterdir()}

    def write(value, ids="abc"):
        report.write_label_report(labelled(value, ids), 3, "t", {}, tmp_path / "page.html")

    write(1)
    before, page = pictures(), (tmp_path / "page.html").read_text()
    with pytest.raises(KeyboardInterrupt):
        write(2, "ab")
    assert (tmp_path / "page.html").read_text() == page
    assert pictures().items() >= before.items()
    (tmp_path / "page_files" / "mine.js").touch()
    write(2)
    assert len(pictures()) == 3 + 1
    assert not pictures().keys() & before.keys()
