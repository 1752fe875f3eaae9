"""What every competition must do, on a small set of its own."""

import csv
import pickle

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import COMPETITIONS, get_competition
from kaggle_unet.competitions.submission import check_submission, read_submission, write_submission
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import ConfigError, DataError
from tests.files import png, tiff, write_folder, write_zip, zipped

H, W = 101, 101
RNG = np.random.default_rng(7)
IDS = ("0012", "8e13060816", "b")
IMAGES = {key: RNG.integers(0, 256, (H, W), np.uint8) for key in IDS}
LABELS = {key: np.zeros((H, W), np.int32) for key in IDS}
LABELS["0012"][10:30, 5:9] = 1
LABELS["8e13060816"][0:4, 0:101] = 1
LABELS["8e13060816"][90:, 50] = 1
TWO = LABELS["0012"].copy()
TWO[30:40, 5:60] = 2


def dsb2018(*, with_masks=True):
    files = {f"{key}/images/{key}.png": png(image) for key, image in IMAGES.items()}
    for key in IDS if with_masks else ():
        labels = TWO if key == "0012" else LABELS[key]
        files |= {f"{key}/masks/m{i}.png": png(labels == i) for i in range(1, labels.max() + 1)}
    if with_masks:
        files["b/masks/empty.png"] = png(LABELS["b"] > 0)
    return files


def tgs(*, with_masks=True):
    files = {f"images/{key}.png": png(np.dstack([image] * 3)) for key, image in IMAGES.items()}
    if with_masks:
        files |= {f"masks/{key}.png": png((LABELS[key] > 0) * np.uint16(65535)) for key in IDS}
    return files


def folder(*, with_masks=True):
    files = {f"images/{key}.tif": tiff(image) for key, image in IMAGES.items()}
    if with_masks:
        files |= {f"masks/{key}.tif": tiff((TWO if key == "0012" else LABELS[key] * 7).astype("u2")) for key in IDS}
    return files


SETS = {"dsb2018": dsb2018, "tgs": tgs, "folder": folder}
TRAIN = {"dsb2018": "stage1_train", "tgs": "train", "folder": "train"}
TEST = {"dsb2018": "stage1_test", "tgs": "test", "folder": "test"}


def truth_of(name):
    return {key: TWO if key == "0012" and name != "tgs" else LABELS[key] for key in IDS}


def pack(name, way, path):
    """Pack the training set (beside a test set, where the way has room) and say what a person types."""
    train, test = SETS[name](), SETS[name](with_masks=False)
    place = f":{TRAIN[name]}" if name == "folder" else ""
    if way == "folder":
        return write_folder(path / "x", train)
    if way == "outer zip":
        inner = {f"{TRAIN[name]}.zip": zipped(train), f"{TEST[name]}.zip": zipped(test)}
        return write_zip(path / "outer.zip", inner) + (f":{TRAIN[name]}.zip" if place else "")
    if way == "folder of unpacked sets":
        files = {f"{TRAIN[name]}/{key}": data for key, data in train.items()}
        return write_folder(path / "all", files | {f"{TEST[name]}/{key}": data for key, data in test.items()}) + place
    if way == "zip with a folder on top":
        return write_zip(path / "top.zip", {f"some/where/{key}": data for key, data in train.items()})
    return write_zip(path / "plain.zip", train)


WAYS = ("zip", "folder", "outer zip", "folder of unpacked sets", "zip with a folder on top")


@pytest.fixture(params=sorted(COMPETITIONS))
def competition(request):
    return get_competition(request.param)


@pytest.fixture
def settings(competition):
    return CompetitionSettings(name=competition.name)


@pytest.fixture(params=WAYS)
def source(request, competition, settings, tmp_path):
    return competition.read(pack(competition.name, request.param, tmp_path), settings)


def test_samples_are_the_same_however_they_are_packed(source, competition):
    assert source.ids == tuple(sorted(IDS))
    assert source.masks is not None
    for key, labels in truth_of(competition.name).items():
        sample = source.load(key)
        assert sample.id == key
        np.testing.assert_array_equal(sample.image, IMAGES[key])
        np.testing.assert_array_equal(sample.labels, labels)
        assert sample.labels.dtype == np.int32
        assert source.shape(key) == (H, W)


def test_a_source_survives_pickling(source):
    copy = pickle.loads(pickle.dumps(source))
    assert copy.ids == source.ids
    np.testing.assert_array_equal(copy.load("b").image, IMAGES["b"])
    assert copy.fingerprint() == source.fingerprint()


def test_the_fingerprint_does_not_depend_on_the_packing(competition, settings, tmp_path):
    found = {competition.read(pack(competition.name, way, tmp_path), settings).fingerprint() for way in WAYS}
    assert len(found) == 1


def test_the_fingerprint_follows_a_mask(competition, settings, tmp_path):
    files = SETS[competition.name]()
    one = competition.read(write_folder(tmp_path / "one", files), settings).fingerprint()
    name = next(name for name in sorted(files) if "masks/" in name)
    files[name] = png(np.ones((H, W), np.uint8))
    assert competition.read(write_folder(tmp_path / "two", files), settings).fingerprint() != one


def test_the_fingerprint_without_masks_ignores_them(competition, settings, tmp_path):
    train = competition.read(write_zip(tmp_path / "a.zip", SETS[competition.name]()), settings, with_masks=False)
    test_files = SETS[competition.name](with_masks=False)
    test = competition.read(write_zip(tmp_path / "b.zip", test_files | {"readme.txt": b"x"}), settings)
    assert train.fingerprint() == test.fingerprint()


def test_masks_are_left_alone_if_not_wanted(competition, settings, tmp_path):
    files = {name: data if "masks/" not in name else b"broken" for name, data in SETS[competition.name]().items()}
    source = competition.read(write_zip(tmp_path / "a.zip", files), settings, with_masks=False)
    assert source.masks is None
    assert source.load("b").labels is None


def test_a_test_set_has_no_labels(competition, settings, tmp_path):
    source = competition.read(write_zip(tmp_path / "a.zip", SETS[competition.name](with_masks=False)), settings)
    assert source.masks is None
    assert source.load("0012").labels is None


def test_masks_that_are_wanted_must_be_there(competition, settings, tmp_path):
    data = write_zip(tmp_path / "a.zip", SETS[competition.name](with_masks=False))
    with pytest.raises(DataError, match=r"a\.zip has no masks; expected "):
        competition.read(data, settings, with_masks=True)


def test_the_test_set_is_found_beside_the_training_set(competition, settings, tmp_path):
    if competition.name == "folder":
        pytest.skip("its sets have no names of their own")
    source = competition.read(pack(competition.name, "outer zip", tmp_path), settings, with_masks=False)
    assert TEST[competition.name] in source.archive.where()


def test_files_of_another_kind_are_not_read(competition, settings, tmp_path):
    files = SETS[competition.name]()
    notes = {f"{name.rpartition('/')[0]}/notes.txt": b"x" for name in files}
    assert competition.read(write_zip(tmp_path / "a.zip", files | notes), settings).ids == tuple(sorted(IDS))


def test_another_competitions_files_are_not_taken(competition, settings, tmp_path):
    other = {f"thing{i}/pictures/{i}.png": png(IMAGES["b"]) for i in range(12)}
    with pytest.raises(DataError, match=r"has no images named like .* it holds: thing0/, .* and 4 more"):
        competition.read(write_zip(tmp_path / "a.zip", other), settings)


def test_skipped_ids_are_left_out_and_named(competition, tmp_path):
    settings = CompetitionSettings(name=competition.name, skip=("b", "unknown"))
    source = competition.read(write_zip(tmp_path / "a.zip", SETS[competition.name]()), settings)
    assert source.ids == ("0012", "8e13060816")
    assert [(issue.sample, issue.kind) for issue in source.data_issues if issue.kind == "skipped"] == [("b", "skipped")]
    assert [issue.sample for issue in source.data_issues if issue.kind == "in competition.skip"] == ["unknown"]
    test = competition.read(str(tmp_path / "a.zip"), settings, with_masks=False)
    assert "b" in test.ids


def test_a_set_that_is_skipped_whole_is_refused(competition, tmp_path):
    settings = CompetitionSettings(name=competition.name, skip=IDS)
    with pytest.raises(DataError, match="has no images, or all of them are skipped"):
        competition.read(write_zip(tmp_path / "a.zip", SETS[competition.name]()), settings)


def test_a_skipped_id_may_lack_its_mask(competition, tmp_path):
    settings = CompetitionSettings(name=competition.name, skip=("b",))
    files = {name: data for name, data in SETS[competition.name]().items() if not ("masks/" in name and "b" in name)}
    assert competition.read(write_zip(tmp_path / "a.zip", files), settings).ids == ("0012", "8e13060816")


def test_everything_wrong_with_a_set_is_named_at_once(competition, settings, tmp_path):
    files = SETS[competition.name]()
    bare = next(name for name in files if "images/" in name).replace("0012", "bare")
    twice = next(name for name in files if "images/b" in name)[:-4] + ".PNG"
    files |= {bare: png(IMAGES["b"]), twice: png(IMAGES["b"])}
    files = {name: data for name, data in files.items() if not ("images/" in name and "8e13" in name)}
    with pytest.raises(DataError, match="has 3 faults; fix the files") as caught:
        competition.read(write_zip(tmp_path / "a.zip", files), settings)
    twice_line, bare_line, orphan_line = caught.value.problems
    assert "id 'b' occurs twice" in twice_line
    assert "bare" in bare_line
    assert "has no masks" in bare_line
    assert "8e13060816" in orphan_line
    assert "has no image" in orphan_line


def test_a_mask_of_another_size_is_an_error_of_its_sample(competition, settings, tmp_path):
    files = SETS[competition.name]()
    name = next(name for name in files if "masks/" in name)
    files[name] = png(np.ones((H, W - 1), np.uint8))
    source = competition.read(write_zip(tmp_path / "a.zip", files), settings)
    with pytest.raises(DataError, match=r"101 x 100 pixels \(height x width\), its image 101 x 101") as caught:
        source.load("0012")
    assert f"a.zip:{name}" in str(caught.value)
    assert source.load("8e13060816").labels is not None


def test_a_truncated_image_is_an_error_of_its_sample(competition, settings, tmp_path):
    files = SETS[competition.name]()
    name = next(name for name in files if "images/" in name)
    source = competition.read(write_zip(tmp_path / "a.zip", files | {name: files[name][:300]}), settings)
    with pytest.raises(DataError, match=rf"a\.zip:{name} is damaged or truncated"):
        source.load("0012")


def test_what_is_written_is_sound_and_read_back(competition, settings, tmp_path):
    truth = truth_of(competition.name)
    write_submission(tmp_path / "x.csv", truth, competition.name)
    shapes = dict.fromkeys(IDS, (H, W))
    errors, _ = check_submission(tmp_path / "x.csv", competition, shapes)
    assert errors == []
    rles = read_submission(tmp_path / "x.csv", competition.name)
    assert list(rles) == list(IDS)
    assert rles["b"] == []
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [competition.id_column, competition.rle_column]
    assert rows[-1] == ["b", ""]


def test_the_truth_scores_1_against_itself(competition, settings, tmp_path):
    truth = read_truth(write_zip(tmp_path / "a.zip", SETS[competition.name]()), competition, settings)
    assert list(truth) == list(IDS)
    assert all(competition.metric(truth[key], truth_of(competition.name)[key]).mean == 1 for key in truth)
    assert competition.metric(truth["0012"], truth["b"]).mean == 0


def test_names_are_those_of_the_registry():
    assert {name: competition.name for name, competition in COMPETITIONS.items()} == dict(zip(SETS, SETS, strict=True))
    with pytest.raises(ConfigError, match="unknown competition 'dsb'; choose from dsb2018, tgs, folder"):
        get_competition("dsb")
