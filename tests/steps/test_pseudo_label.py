"""Images without masks become samples where networks are sure, and a next training learns from them."""

import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kaggle_unet.config import load_config
from kaggle_unet.data.dataset import TrainingSet, ValidationSet
from kaggle_unet.steps.pseudo_label import image_confidence, pixel_confidence
from kaggle_unet.store import Store, TargetSet, write_record
from kaggle_unet.synthetic.files import write_tgs_zip
from kaggle_unet.targets.codecs import CODECS
from tests.steps.conftest import call

# Networks that have learnt for two epochs find little at 0.5.
LOW = ["--set", "decode.mask_threshold=0.3", "--set", "decode.seed_threshold=0.3"]


def spread(trained):
    """The confidence of each test image, from the planes that `predict` writes."""
    folder = trained.home / "planes of pseudo-labels"
    answer = call("predict", trained.config, *trained.checkpoints, "--data", trained.test, "--planes", folder)
    assert answer.code == 0, answer.err
    found, codec = {}, CODECS[load_config(trained.config).codec.name]
    for id_ in trained.truth:
        planes = np.load(folder / f"{id_}.npz")["planes"].astype(np.float32)
        sure = planes.max(0) if codec.activation == "softmax" else np.maximum(planes, 1 - planes).min(0)
        found[id_] = sure
    return found


@pytest.fixture(scope="module")
def bounds(trained):
    """Bounds that keep some test images and leave out others: of an image's share, and of a pixel's probability."""
    maps = spread(trained)
    values = np.concatenate([pixels.ravel() for pixels in maps.values()])
    for pixel in map(float, np.quantile(values, np.arange(0.2, 0.8, 0.05))):
        shares = {id_: float((pixels > pixel).mean()) for id_, pixels in maps.items()}
        lowest, second, *_ = sorted(shares.values())
        if lowest < second:
            return {"shares": shares, "pixel": pixel, "image": (lowest + second) / 2}
    pytest.fail("of these drawn images none is less sure than the others")


@pytest.fixture(scope="module")
def test_data(trained):
    """The test images under ids that the training set has not."""
    if trained.name != "folder":
        return trained.test
    renamed = trained.home / "renamed"
    shutil.copytree(trained.test / "images", renamed / "images")
    for path in sorted((renamed / "images").iterdir()):
        path.rename(path.with_name(f"new_{path.name}"))
    return renamed


def targets_of(store):
    """The only target set of a store."""
    return TargetSet(store.folder, *store.target_identities())


def own_id(trained, id_):
    return f"new_{id_}" if trained.name == "folder" else id_


@pytest.fixture(scope="module")
def labelled(trained, bounds, test_data):
    """A store of pseudo-labels, made by both folds."""
    store = trained.home / "pseudo store"
    options = ["--confidence", bounds["image"], "--pixel-confidence", bounds["pixel"], "--ignore-unsure"]
    words = ["--run", trained.run, "--data", test_data, "--store", store, *options, *LOW, "--preview", 1]
    answer = call("pseudo-label", trained.config, *words)
    assert answer.code == 0, answer.err
    return store, words, answer


def test_sure_images_are_stored_and_others_are_not(trained, labelled, bounds):
    folder, _, answer = labelled
    kept = {own_id(trained, id_) for id_, share in bounds["shares"].items() if share >= bounds["image"]}
    store = Store.open(folder)
    assert set(store.ids) == kept
    assert store.folds == {}
    assert "kept     3 of 4 images; 0 constant images are left out" in answer.out
    assert f" 0.5 {sum(share >= 0.5 for share in bounds['shares'].values())}, " in answer.out
    with (folder / "confidence.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for id_, share in bounds["shares"].items():
        row = rows[own_id(trained, id_)]
        assert float(row["confidence"]) == pytest.approx(share, abs=1e-6)
        assert row["kept"] == str(int(own_id(trained, id_) in kept))
    assert min(bounds["shares"].values()) == pytest.approx(float(answer.out.split("p0 ")[1].split(",")[0]), abs=1e-4)


def test_labels_are_those_that_submit_would_write(trained, labelled, test_data):
    folder = trained.home / "labels of pseudo-labels"
    answer = call("submit", trained.config, "--data", test_data, *trained.checkpoints, "--labels", folder, *LOW,
                  "-o", trained.home / "pseudo.csv")  # fmt: skip
    assert answer.code == 0, answer.err
    store = Store.open(labelled[0])
    config = load_config(trained.config)
    assert any(store.read(id_).labels.any() for id_ in store.ids)
    for id_ in store.ids:
        sample = store.read(id_)
        with Image.open(folder / f"{id_}.tif") as written:
            np.testing.assert_array_equal(sample.labels, np.asarray(written))
        planes, _ = targets_of(store).read(id_)
        np.testing.assert_array_equal(planes, CODECS[config.codec.name].encode(sample.labels, config.codec.border))


@pytest.mark.parametrize("given", ["decode.yaml", "mine.yaml"])
def test_a_tuned_decoding_is_that_of_the_labels_too(trained, test_data, tmp_path, given):
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    named = () if given == "decode.yaml" else ("--decode", run / given)  # else what tune has left
    (run / given).write_text("decode: {mask_threshold: 0.4, seed_threshold: 0.4, single_object: %s}" % (
        "true" if trained.name == "tgs" else "false"))  # fmt: skip
    words = (*named, "--data", test_data)
    answer = call("submit", run, *words, "--labels", tmp_path / "labels", "-o", tmp_path / "x.csv")
    assert answer.code == 0, answer.err
    answer = call("pseudo-label", run, *words, "--store", tmp_path / "store", "--confidence", 0)
    assert answer.code == 0, answer.err
    assert f"decoding run/{given}" in answer.out
    assert "does not record the checkpoints" in answer.err
    store = Store.open(tmp_path / "store")
    assert set(store.ids) == {own_id(trained, id_) for id_ in trained.truth}
    for id_ in store.ids:
        with Image.open(tmp_path / "labels" / f"{id_}.tif") as written:
            np.testing.assert_array_equal(store.read(id_).labels, np.asarray(written))


def test_unsure_pixels_of_a_kept_image_count_in_no_loss(trained, labelled, bounds):
    store = Store.open(labelled[0])
    maps = {own_id(trained, id_): pixels for id_, pixels in spread(trained).items()}
    assert any((maps[id_] <= np.float32(bounds["pixel"])).any() for id_ in store.ids)
    for id_ in store.ids:
        unsure = maps[id_] <= np.float32(bounds["pixel"])
        np.testing.assert_array_equal(store.read(id_).ignore, unsure)
        _, weights = targets_of(store).read(id_)
        np.testing.assert_array_equal(weights == 0, unsure)


def test_the_store_says_what_it_is_made_of_and_is_drawn(labelled):
    folder, _, answer = labelled
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["identity"]["pseudo_labels"]["checkpoints"]) == 2
    assert manifest["identity"]["pseudo_labels"]["choice"]["ignore_unsure"] is True
    assert len(list((folder / "preview").glob("*.png"))) == 1
    assert "round-trip score: " in answer.out
    assert "kaggle-unet train " in answer.out
    assert "--add-store" in answer.out


def test_called_again_it_says_the_same_and_with_other_bounds_it_refuses(trained, labelled):
    folder, words, first = labelled
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    again = call("pseudo-label", trained.config, *words)
    assert (again.code, again.err) == (0, ""), "no image is predicted again"
    assert again.out.split("confidence: ")[1:] == first.out.split("confidence: ")[1:]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")} == before
    answer = call("pseudo-label", trained.config, *words, "--confidence", 0.01)
    assert answer.code == 3
    assert "pseudo_labels.choice.confidence: was" in answer.err


def test_an_interrupted_call_is_finished_by_the_next(trained, labelled):
    folder, words, _ = labelled
    half = trained.home / "half"
    shutil.copytree(folder, half)
    manifest = json.loads((half / "manifest.json").read_text())
    write_record(half / "manifest.json", {**manifest, "complete": False})
    sorted(half.glob("targets/*/*.npz"))[0].unlink()
    answer = call("pseudo-label", trained.config, *words, "--store", half)
    assert answer.code == 0, answer.err
    for path in sorted(folder.rglob("*.npz")):
        assert (half / path.relative_to(folder)).read_bytes() == path.read_bytes()


@pytest.fixture
def seen(monkeypatch):
    """Ids of the samples that are trained on, one for each time, and of those that are validated on."""
    ids = {"training": [], "validation": set()}
    get, init = TrainingSet.__getitem__, ValidationSet.__init__

    def watch_training(self, key):
        item = get(self, key)
        ids["training"].append(item.id)
        return item

    def watch_validation(self, samples, *rest, **options):
        ids["validation"] |= {sample.id for sample in samples}
        init(self, samples, *rest, **options)

    monkeypatch.setattr(TrainingSet, "__getitem__", watch_training)
    monkeypatch.setattr(ValidationSet, "__init__", watch_validation)
    return ids


def test_added_samples_are_trained_on_in_every_fold_and_never_validated_on(trained, labelled, seen):
    added = set(Store.open(labelled[0]).ids)
    folds = Store.open(trained.store).folds
    run = trained.home / "added run"
    for fold in (0, 1):
        seen["training"], seen["validation"] = [], set()
        answer = call("train", trained.config, "--fold", fold, "--store", trained.store, "--run", run,
                      "--add-store", labelled[0])  # fmt: skip
        assert answer.code == 0, answer.err
        training = {id_ for id_, own in folds.items() if own != fold} | added
        assert sorted(seen["training"]) == sorted([*training] * 2), "each once in each of 2 epochs"
        assert seen["validation"] == {id_ for id_, own in folds.items() if own == fold}
        result = json.loads((run / f"fold{fold}" / "result.json").read_text())
        assert (result["training_samples"], result["added_samples"], result["samples"]) == (7, 3, 4)
        assert set(json.loads((run / f"fold{fold}" / "planes" / "planes.json").read_text())["ids"]).isdisjoint(added)


def test_a_run_names_the_stores_that_it_adds_and_goes_on_with_them_only(trained, labelled):
    run = trained.home / "recorded run"
    words = ["train", trained.config, "--store", trained.store, "--run", run]
    assert call(*words, "--fold", 0, "--add-store", labelled[0]).code == 0
    (record,) = json.loads((run / "run.json").read_text())["added_stores"]
    assert record["store"] == str(labelled[0])
    assert record["hash"] == Store.open(labelled[0]).manifest["identity_sha256"]
    assert record["samples"] == 3
    assert call(*words, "--fold", 0, "--add-store", labelled[0], "--resume").code == 0
    for options in (["--resume"], []):
        answer = call(*words, "--fold", 0 if options else 1, *options)
        assert answer.code == 2
        assert f"was trained with other added stores ({labelled[0]})" in answer.err
    answer = call("train", trained.config, "--store", trained.store, "--run", trained.run, "--fold", 0, "--resume",
                  "--add-store", labelled[0])  # fmt: skip
    assert answer.code == 2
    assert "was trained with other added stores (none)" in answer.err


def test_ids_in_two_stores_are_refused_and_listed(trained, labelled):
    words = ["train", trained.config, "--fold", 0, "--store", trained.store, "--run", trained.home / "never"]
    for added in ([trained.store], [labelled[0], labelled[0]]):
        answer = call(*words, *(word for folder in added for word in ("--add-store", folder)), "--json")
        assert answer.code == 3
        assert "ids are in more than one of" in answer.err
        assert set(Store.open(added[0]).ids) <= set(json.loads(answer.out)["problems"])
    assert not (trained.home / "never").exists()


def test_a_copy_of_a_held_out_image_is_left_out_of_that_fold_alone(trained, labelled, seen):
    main, copied = Store.open(trained.store), trained.home / "store with a copy"
    if not copied.exists():
        shutil.copytree(labelled[0], copied)
    store = Store.open(copied)
    twin = next(id_ for id_ in main.ids if main.folds[id_] == 0)
    replaced = store.read(store.ids[0]).__class__(store.ids[0], main.read(twin).image, main.read(twin).labels,
                                                  numbers=main.read(twin).numbers)  # fmt: skip
    store.write(replaced)
    for fold in (0, 1):
        seen["training"] = []
        answer = call("train", trained.config, "--fold", fold, "--store", trained.store,
                      "--run", trained.home / "run with a copy", "--add-store", copied)  # fmt: skip
        assert answer.code == 0, answer.err
        warning = f"1 added samples are left out, as their images are among those held out: {store.ids[0]}"
        assert (warning in answer.err.replace("\n", " ")) == (fold == 0)
        assert (store.ids[0] in seen["training"]) == (fold == 1)


def test_targets_of_an_added_store_do_not_matter_but_how_its_samples_were_read_does(trained, labelled):
    words = ["train", trained.config, "--fold", 0, "--add-store", labelled[0]]
    other = trained.home / "store of another config"
    for option, code in (("weights.cap=7", 0), ("competition.skip=[nobody]", 2)):
        words = [*words[:3], 0, "--add-store", labelled[0], "--set", option]
        places = ["--store", other / option[:7], "--run", trained.home / f"run {option[:7]}"]
        made = call("make-targets", trained.config, "--data", trained.train, *places[:2], "--set", option)
        assert made.code == 0, made.err
        answer = call(*words, *places)
        assert answer.code == code, answer.err
    assert f"--add-store {labelled[0]} was made with another config (competition.skip differ)" in answer.err
    words = ["train", trained.config, "--fold", 0, "--store", trained.store, "--add-store", trained.home / "nowhere"]
    answer = call(*words, "--run", trained.home / "never")
    assert (answer.code, "there is no store in" in answer.err) == (3, True)


def test_the_first_batch_is_drawn_with_added_samples(trained, labelled, seen):
    words = ["train", trained.config, "--store", trained.store, "--set", "training.batch=7", "--show-batch"]
    assert call(*words, trained.home / "batch.png", "--add-store", labelled[0]).code == 0
    assert set(Store.open(labelled[0]).ids) < set(seen["training"])


def test_where_nothing_is_sure_no_store_is_left(trained, test_data):
    words = ["--run", trained.run, "--data", test_data, "--store", trained.home / "unsure", "--pixel-confidence", 1]
    answer = call("pseudo-label", trained.config, *words)
    assert answer.code == 2
    assert "none of the 4 images has a confidence of 0.9 (highest: 0.0000; 0 are constant)" in answer.err
    answer = call(
        "train", trained.config, "--fold", 0, "--store", trained.store, "--add-store", trained.home / "unsure"
    )
    assert answer.code == 3


def test_both_activations_are_among_the_drawn_competitions(trained):
    assert CODECS[load_config(trained.config).codec.name].activation == (
        "softmax" if trained.name == "dsb2018" else "sigmoid"
    )


def test_one_checkpoint_may_label_and_a_run_without_any_is_named(trained, test_data):
    words = ["--data", test_data, "--store", trained.home / "by one", "--confidence", 0]
    answer = call("pseudo-label", trained.config, *words, "--run", trained.run, "--checkpoint", trained.run / "fold0")
    assert answer.code == 0, answer.err
    assert "kept     4 of 4 images" in answer.out
    manifest = json.loads((trained.home / "by one" / "manifest.json").read_text())
    assert len(manifest["identity"]["pseudo_labels"]["checkpoints"]) == 1
    answer = call("pseudo-label", trained.config, *words, "--run", trained.home / "nowhere")
    assert (answer.code, "nowhere: no such checkpoint, fold or run" in answer.err.replace("\n", " ")) == (3, True)


def test_a_share_above_one_is_a_wrong_command(trained, test_data):
    answer = call("pseudo-label", trained.config, "--run", trained.run, "--data", test_data, "--confidence", 1.5)
    assert answer.code == 2


def test_size_weights_take_the_area_of_the_training_set(trained, labelled):
    reports = [json.loads((folder / "report.json").read_text()) for folder in (trained.store, labelled[0])]
    assert reports[0]["weights"] == reports[1]["weights"]


def test_constant_images_are_left_out(trained, tmp_path):
    if trained.name != "tgs":
        pytest.skip("black tiles are TGS's")
    write_tgs_zip(tmp_path / "test.zip", 3, 3, with_masks=False)
    (tmp_path / "images").mkdir()
    shutil.unpack_archive(tmp_path / "test.zip", tmp_path)
    black = sorted((tmp_path / "images").iterdir())[0]
    Image.new("RGB", (101, 101)).save(black)
    (tmp_path / "test.zip").unlink()
    answer = call("pseudo-label", trained.config, "--run", trained.run, "--data", tmp_path, "--confidence", 0,
                  "--store", tmp_path / "store")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "kept     2 of 3 images; 1 constant images are left out" in answer.out
    assert black.stem not in Store.open(tmp_path / "store").ids


def confidence_of(planes, activation="sigmoid", above=0.8):
    return image_confidence(pixel_confidence(np.asarray(planes, np.float32), activation), above)


@pytest.mark.parametrize(
    ("planes", "activation", "expected"),
    [
        (np.zeros((1, 2, 2)), "sigmoid", 1),  # nothing, and sure of it
        (np.ones((1, 2, 2)), "sigmoid", 1),  # all salt, and sure of it
        (np.full((2, 2, 2), 0.5), "sigmoid", 0),
        ([[[0.9, 0.1]], [[0.5, 0.1]]], "sigmoid", 0.5),  # sure of the mask, not of the border
        ([[[0.9, 0.3]], [[0.1, 0.3]], [[0.0, 0.4]]], "softmax", 0.5),
        ([[[0.1, 0.1]], [[0.15, 0.9]], [[0.75, 0.0]]], "softmax", 0.5),  # 0.1 is no decision for a class
        (np.full((3, 1, 1), 1 / 3), "softmax", 0),
    ],
)
def test_confidence_by_hand(planes, activation, expected):
    assert confidence_of(planes, activation) == expected


def test_half_precision_changes_no_more_than_it_must():
    planes = np.random.default_rng(0).random((2, 20, 20)).astype(np.float16)
    found = pixel_confidence(planes, "sigmoid")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixel_confidence(planes.astype(np.float32), "sigmoid"))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.floats(0.5, 1))
def test_confidence_does_not_tell_objects_from_background_nor_where_they_are(seed, n_planes, above):
    rng = np.random.default_rng(seed)
    planes = (rng.integers(0, 257, (n_planes, 6, 7)) / 256).astype(np.float32)
    share = confidence_of(planes, above=above)
    assert 0 <= share <= 1
    assert confidence_of(1 - planes, above=above) == share
    assert confidence_of(planes[:, ::-1, ::-1], above=above) == share
    assert confidence_of(planes, above=0.49) == 1


@given(st.integers(0, 2**32 - 1))
def test_a_higher_bound_leaves_fewer_pixels_sure(seed):
    rng = np.random.default_rng(seed)
    scores = rng.exponential(size=(3, 5, 5))
    planes = scores / scores.sum(0)
    shares = [confidence_of(planes, "softmax", above) for above in (0.2, 0.5, 0.8, 0.99, 1)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (1, 0)
