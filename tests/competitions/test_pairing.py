"""Nothing vanishes: each file of a set is read, or named, or its sample left out whole."""

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.pairing import OUTSIDE
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError
from kaggle_unet.steps.check import describe_coverage
from tests import layouts
from tests.files import png, tiff, write_folder, write_zip

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24), np.uint8)
LABELS = np.zeros((20, 24), np.uint8)
LABELS[3:8, 3:8], LABELS[10:15, 10:15] = 1, 2
PNG, MASK, WHOLE = png(IMAGE), png(LABELS), png(LABELS > 0)
FOLDER = {f"{kind}/{id_}.png": data for id_ in "abc" for kind, data in (("images", PNG), ("masks", MASK))}
DSB = {
    f"{id_}/{place}.png": data
    for id_ in "abc"
    for place, data in ((f"images/{id_}", PNG), ("masks/1", png(LABELS == 1)), ("masks/2", png(LABELS == 2)))
}
TGS = {name: png(np.zeros((101, 101), np.uint8)) for name in FOLDER}


def read(name, files, folder, *, zipped=False, with_masks=True, **options):
    skip_bad = options.pop("skip_bad", False)
    data = write_zip(folder / "set.zip", files) if zipped else write_folder(folder / "set", files)
    settings = CompetitionSettings(name=name, **options)
    return get_competition(name).read(data, settings, with_masks=with_masks, skip_bad=skip_bad)


LEFT = [
    ("folder", FOLDER, "images/more/d.png", PNG, "d"),
    ("folder", FOLDER, "images/b.czi", b"anything", "b"),
    ("folder", FOLDER, "images/d.nd2", b"anything", "d"),
    ("folder", FOLDER, "images/scan0001", PNG, "scan0001"),
    ("folder", FOLDER, "images/x.pnX", tiff(IMAGE), "x"),
    ("folder", FOLDER, "masks/a.npy", b"\x93NUMPY", "a"),
    ("folder", FOLDER, "images/a.json", b"{}", "a"),
    ("dsb2018", DSB, "b/masks/3.jp2", b"anything", "b"),
    ("dsb2018", DSB, "b/masks/more/3.png", MASK, "b"),
    ("dsb2018", DSB, "b/masks/3", MASK, "b"),
    ("dsb2018", DSB, "b/images/other.png", PNG, "b"),
    ("dsb2018", DSB, "b/images/B.png", PNG, "b"),
    ("tgs", TGS, "images/b.tif", PNG, "b"),
    ("tgs", TGS, "masks/more/b.png", MASK, "b"),
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("name", "files", "more", "data", "owner"), LEFT, ids=lambda value: str(value)[:24])
def test_data_that_are_not_read_are_refused_and_skip_bad_drops_their_sample(
    name, files, more, data, owner, zipped, tmp_path
):
    with pytest.raises(
        DataError, match="has a fault; fix the files, or leave training ids out with --skip-bad"
    ) as info:
        read(name, files | {more: data}, tmp_path, zipped=zipped)
    (problem,) = info.value.problems
    assert f"{more} is not read; expected " in problem
    source = read(name, files | {more: data}, tmp_path, zipped=zipped, skip_bad=True)
    assert source.ids == tuple(id_ for id_ in "abc" if id_ != owner)
    assert [issue.kind for issue in source.data_issues if "--skip-bad" in issue.action] == [problem]


def test_all_files_that_are_not_read_are_named_at_once(tmp_path):
    nested = {f"{kind}/more/{id_}.png": data for kind, data in (("images", PNG), ("masks", MASK)) for id_ in "de"}
    with pytest.raises(DataError, match="has 4 faults") as info:
        read("folder", FOLDER | nested, tmp_path)
    assert {name for name in nested if any(name in problem for problem in info.value.problems)} == set(nested)


def test_skip_bad_leaves_out_samples_that_lack_their_other_half(tmp_path):
    files = {name: data for name, data in FOLDER.items() if name not in {"images/a.png", "masks/b.png"}}
    assert read("folder", files, tmp_path, skip_bad=True).ids == ("c",)


def test_copies_texts_and_junk_are_no_data(tmp_path):
    others = ["images/a.png.bak", "images/a.txt", "masks/readme.md", "images/d.tif~", "images/meta.xml"]
    junk = ["images/.DS_Store", "masks/Thumbs.db", "images/@eaDir/a.png", "__MACOSX/images/._a.png", "images/~$a.png"]
    source = read("folder", FOLDER | dict.fromkeys([*others, *junk], PNG[:0]) | {"images/a.png.bak": PNG}, tmp_path)
    assert source.ids == ("a", "b", "c")
    named = {issue.sample: issue.kind for issue in source.data_issues if issue.kind.startswith("other")}
    assert set(named) == set(others)
    assert named["images/a.txt"] == "other files (.txt)"


def test_images_elsewhere_in_the_data_are_noted(tmp_path):
    source = read("folder", FOLDER | {"overview.png": PNG, "test/images/z.png": PNG}, tmp_path)
    assert {i.sample for i in source.data_issues if i.kind == OUTSIDE} == {
        "overview.png",
        "test/images/z.png",
    }


def test_masks_are_left_alone_where_none_are_wanted(tmp_path):
    files = FOLDER | {"masks/more/x.czi": b"x"}
    assert read("folder", files, tmp_path, with_masks=False).ids == ("a", "b", "c")
    flat = {f"{id_}.png": PNG for id_ in "abc"} | {name: data for name, data in files.items() if "masks" in name}
    assert read("folder", flat, tmp_path / "flat", with_masks=False, images=".").ids == ("a", "b", "c")


def test_images_without_masks_need_no_subfolder(tmp_path):
    flat = {f"{id_}.png": PNG for id_ in "abc"}
    for zipped in (False, True):
        assert read("folder", flat, tmp_path / "flat", zipped=zipped, with_masks=False).ids == ("a", "b", "c")
    with pytest.raises(DataError, match="several sets of images"):
        read("folder", {"days/1/a.png": PNG, "days/2/b.png": PNG}, tmp_path / "days", with_masks=False)
    with pytest.raises(DataError, match=r"no images named like images/<id>\.png"):
        read("folder", flat, tmp_path / "train")
    for files in ({"images/a.jp2": b"x", "masks/a.png": MASK}, {"masks/a.png": MASK}):
        with pytest.raises(DataError, match=r"no images named like images/<id>\.png"):
            read("folder", files, tmp_path / f"masks{len(files)}", with_masks=False)


@pytest.mark.parametrize("competition", ["folder", "dsb2018"])
def test_names_composed_and_decomposed_are_one_name(competition, tmp_path):
    composed, decomposed = "Zähl", "Za\u0308hl"
    files = {
        "folder": {f"images/{composed}.png": PNG, f"masks/{decomposed}.png": MASK},
        "dsb2018": {f"{composed}/images/{decomposed}.png": PNG, f"{composed}/masks/1.png": WHOLE},
    }[competition]
    for zipped in (False, True):
        source = read(competition, files, tmp_path, zipped=zipped)
        assert source.ids == (composed,)
        assert source.load(composed).labels.max() >= 1


def test_two_files_whose_names_differ_in_composition_alone_are_one_id_twice(tmp_path):
    files = FOLDER | {"images/Zähl.png": PNG, "images/Za\u0308hl.png": PNG, "masks/Zähl.png": MASK}
    with pytest.raises(DataError, match="has a fault") as info:
        read("folder", files, tmp_path)
    assert "occurs twice" in info.value.problems[0]
    assert read("folder", files, tmp_path, skip_bad=True).ids == ("a", "b", "c")


def test_masks_that_are_not_wanted_are_no_images_elsewhere(tmp_path):
    for name, files in (("folder", FOLDER), ("dsb2018", DSB), ("tgs", TGS)):
        source = read(name, files, tmp_path / name, with_masks=False)
        assert not [issue for issue in source.data_issues if issue.kind == OUTSIDE]
        assert describe_coverage(source) == "all 3 images of the data"


def test_the_coverage_names_what_is_not_read(tmp_path):
    source = read("folder", FOLDER | {f"more/{k}.png": PNG for k in range(7)}, tmp_path)
    names = ", ".join(f"more/{k}.png" for k in range(5))
    assert describe_coverage(source) == f"3 of 10 images of the data; not {names}, … and 2 more"


def test_one_of_several_channels_is_chosen_by_the_config(tmp_path):
    two = tiff(np.dstack([IMAGE, IMAGE[::-1]]), photometric="minisblack", planarconfig="contig")
    files = FOLDER | {f"images/{id_}.png": two for id_ in "abc"}
    np.testing.assert_array_equal(read("folder", files, tmp_path, channel=1).load("b").image, IMAGE[::-1])
    assert read("folder", files, tmp_path).load("b").image.shape == (20, 24, 2)


@pytest.mark.parametrize("seed", range(40))
def test_of_a_drawn_layout_every_sample_is_read_or_named(seed):
    assert not layouts.check(seed)


def test_a_mask_with_the_sides_of_its_image_swapped_names_the_orientation_tag(tmp_path):
    source = read("folder", FOLDER | {"masks/b.png": png(LABELS.T)}, tmp_path)
    with pytest.raises(DataError, match=r"24 x 20 pixels .*, its image 20 x 24; an orientation tag \(EXIF\) may turn"):
        source.load("b")
