"""What goes wrong ends with a short message that names the file, the code of `errors.py`, and nothing half-written."""

import os
import zipfile

import pytest

from kaggle_unet.synthetic.files import write_dsb_zip
from tests.steps.conftest import COMMON, CONFIGS, call


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "configs" / "dsb2018" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIGS["dsb2018"] + COMMON)
    return path


def make_targets(config, data, *words):
    return call("make-targets", config, "--data", data, "--store", config.parents[2] / "store", *words)


def rewrite(path, change):
    """Copy a zip with some members changed: change(name, data) gives the new data, or None to leave it out."""
    with zipfile.ZipFile(path) as old:
        members = [(name, change(name, old.read(name))) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members:
            if data is not None:
                new.writestr(name, data)


def test_a_wrong_path_is_named(config, tmp_path):
    answer = make_targets(config, tmp_path / "nowhere.zip")
    assert (answer.code, "nowhere.zip" in answer.err) == (3, True)


def test_a_zip_that_is_none_is_named(config, tmp_path):
    (tmp_path / "page.zip").write_text("<html>please log in</html>")
    answer = make_targets(config, tmp_path / "page.zip")
    assert (answer.code, "page.zip" in answer.err) == (3, True)


def test_all_truncated_images_are_named_and_no_finished_store_is_left(config, tmp_path):
    data = tmp_path / "train.zip"
    ids = sorted(write_dsb_zip(data, 1, 4, shape=(48, 48)))
    rewrite(data, lambda name, old: old[:60] if "/images/" in name and name.split("/")[0] in ids[:2] else old)
    answer = make_targets(config, data)
    assert answer.code == 3
    assert all(id_ in answer.err for id_ in ids[:2])
    assert ids[2] not in answer.err
    answer = call("train", config, "--fold", "0", "--store", tmp_path / "store", "--run", tmp_path / "run")
    assert answer.code == 3
    assert "make-targets" in answer.err
    assert not (tmp_path / "run").exists()


def test_skip_bad_leaves_faulty_samples_out_and_says_so(config, tmp_path):
    data = tmp_path / "train.zip"
    ids = sorted(write_dsb_zip(data, 1, 4, shape=(48, 48)))
    rewrite(data, lambda name, old: old[:60] if "/images/" in name and name.startswith(ids[0]) else old)
    answer = make_targets(config, data, "--skip-bad")
    assert answer.code == 0
    assert "3 samples" in answer.out
    assert ids[0] in answer.err
    assert "\nwarning left out: " in answer.err


def test_an_image_without_masks_is_named(config, tmp_path):
    data = tmp_path / "train.zip"
    ids = sorted(write_dsb_zip(data, 1, 3, shape=(48, 48)))
    rewrite(data, lambda name, old: None if name.startswith(f"{ids[1]}/masks") else old)
    answer = make_targets(config, data)
    assert (answer.code, ids[1] in answer.err) == (3, True)


def test_a_store_of_another_config_is_not_mixed_with_this_one(config, tmp_path):
    data = tmp_path / "train.zip"
    write_dsb_zip(data, 1, 4, shape=(48, 48))
    assert make_targets(config, data).code == 0
    answer = make_targets(config, data, "--set", "competition.skip=[nobody]")
    assert (answer.code, "competition.skip" in answer.err) == (3, True)


def test_a_fold_that_does_not_exist_is_a_usage_error(config, tmp_path):
    answer = call("train", config, "--fold", "7", "--store", tmp_path / "store")
    assert (answer.code, "0 to 1" in answer.err) == (2, True)


def test_an_unknown_key_is_a_usage_error(config, tmp_path):
    answer = make_targets(config, tmp_path, "--set", "training.epoch=1")
    assert (answer.code, "epochs" in answer.err) == (2, True)


def test_a_checkpoint_of_other_channels_is_refused_before_any_image_is_read(trained, tmp_path):
    words = ["--set", "input.channels=[red]"]
    answer = call("submit", trained.config, "--data", tmp_path / "nowhere.zip", *trained.checkpoints,
                  "-o", tmp_path / "x.csv", *words)  # fmt: skip
    assert answer.code == 2
    assert "input.channels" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_refused(trained, tmp_path):
    path = tmp_path / "best.safetensors"
    data = bytearray((trained.run / "fold0" / "best.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (tmp_path / "best.safetensors.sha256").write_bytes((trained.run / "fold0" / "best.safetensors.sha256").read_bytes())
    answer = call("submit", trained.config, "--data", trained.test, "--checkpoint", path, "-o", tmp_path / "x.csv")
    assert (answer.code, "best.safetensors" in answer.err) == (3, True)
    assert not (tmp_path / "x.csv").exists()


def test_training_into_a_finished_run_needs_resume_or_another_folder(trained):
    answer = call("train", trained.config, "--fold", "0", "--store", trained.store, "--run", trained.run)
    assert answer.code == 2
    assert "--resume" in answer.err


def test_a_run_is_not_continued_with_another_config(trained):
    answer = call("train", trained.config, "--fold", "0", "--store", trained.store, "--run", trained.run, "--resume",
                  "--set", "training.batch=3")  # fmt: skip
    assert (answer.code, "training.batch" in answer.err) == (2, True)


def test_a_broken_submission_is_refused_with_every_fault(trained, tmp_path):
    path = tmp_path / "x.csv"
    columns = "id,rle_mask" if trained.name == "tgs" else "ImageId,EncodedPixels"
    ids = sorted(trained.truth)
    path.write_text(f"{columns}\n{ids[0]},5 3 1 2\n{ids[1]},0 4\nstranger,1 1\n")
    answer = call("check", path, "--data", trained.test, "--competition", trained.name)
    assert answer.code == 3
    assert all(id_ in answer.err for id_ in (*ids, "stranger"))
    assert f"x.csv: breaks {answer.err.count('- ')} rules of the competition {trained.name}" in answer.err


def test_a_folder_where_a_config_is_wanted_says_how_a_run_goes_on(trained):
    answer = call("train", trained.run, "--fold", 0)
    assert (answer.code, f"CONFIG --resume --run {trained.run}" in answer.err) == (2, True)


def test_the_command_after_a_training_fits_the_data(drawn_config, tmp_path):
    for name, words in (("folder", "IMAGES -o results/folder/tiny"), ("dsb2018", "--data TEST.zip -o")):
        config, data, _ = drawn_config(name)
        places = ["--store", tmp_path / name]
        answer = call("make-targets", config, "--data", data, *places, "--export", "tiff", tmp_path / "tiff")
        assert f"export   {tmp_path / 'tiff'}" in answer.out
        answer = call("train", config, "--fold", 0, *places, "--run", tmp_path / f"{name} run")
        assert words in answer.out


def test_a_locked_store_is_refused(config, tmp_path):
    from kaggle_unet.store import lock

    write_dsb_zip(tmp_path / "train.zip", 1, 2, shape=(48, 48))
    with lock(tmp_path / "store"):
        answer = make_targets(config, tmp_path / "train.zip")
    assert answer.code == 5
    assert str(os.getpid()) in answer.err
