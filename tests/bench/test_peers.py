import csv
import sys
from zipfile import ZipFile

from tests.bench.peers import CONFIG, cpu_s, render, unpack

BUSY = "import time\nwhile time.process_time() < 0.3: pass"


def test_the_time_of_a_command_has_that_of_its_children_and_no_waiting(tmp_path):
    parent = f"import subprocess, sys, time; time.sleep(1); subprocess.run([sys.executable, '-c', {BUSY!r}])"
    assert 0.3 < cpu_s([sys.executable, "-c", parent], tmp_path / "log.txt") < 1


def test_the_zip_is_divided_by_the_folds_of_the_config_and_its_test_images_stay_inside(tmp_path):
    rows = list(csv.DictReader(CONFIG.with_name("folds.csv").read_text().splitlines()))
    held, trained = (next(row["id"] for row in rows if row["fold"] == fold) for fold in "01")
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        for id_ in (held, trained):
            for kind in ("images", "masks"):
                archive.writestr(f"dsb2018/train/{kind}/{id_}.tif", kind)
        archive.writestr("dsb2018/test/images/a.tif", "kept back")
    unpack(tmp_path / "a.zip", tmp_path / "data")
    names = sorted(str(path.relative_to(tmp_path / "data")) for path in tmp_path.glob("data/*/*/*"))
    assert names == [
        *(f"train/{kind}/{trained}.tif" for kind in ("images", "masks")),
        *(f"validation/{kind}/{held}.tif" for kind in ("images", "masks")),
    ]


def test_the_table_has_a_row_per_library():
    row = {"peer": "stardist", "version": "0.9.2", "train_cpu_s": 601.6, "steps": 1000, "crops": 4000, "side_px": 256}
    row |= {"score": 0.43, "ap": {"0.5": 0.8, "0.75": 0.4, "0.9": 0.05}, "tuned_on": "the 67", "predict_cpu_s": 7.8}
    assert render([row]).splitlines() == [
        "| library | training, CPU s | steps | crops | score | AP@0.5 | 0.75 | 0.9 | tuned on | prediction, CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| stardist 0.9.2 | 602 | 1,000 | 4,000 × 256² | 0.430 | 0.800 | 0.400 | 0.050 | the 67 | 8 |",
    ]
