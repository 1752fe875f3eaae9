"""A run's folder and its checkpoints, found by what people type."""

import pytest

from kaggle_unet.errors import DataError
from kaggle_unet.steps.run import find_checkpoint


def test_a_folder_means_its_best_checkpoint(tmp_path):
    fold = tmp_path / "run" / "fold0"
    fold.mkdir(parents=True)
    with pytest.raises(DataError, match=r"fold0: holds no best\.safetensors"):
        find_checkpoint(fold)
    (fold / "best.safetensors").touch()
    assert find_checkpoint(fold) == fold / "best.safetensors"
    assert find_checkpoint(fold / "best.safetensors") == fold / "best.safetensors"
    with pytest.raises(DataError, match=r"a run of several folds; give one --checkpoint for each, .*fold0 first"):
        find_checkpoint(tmp_path / "run")
    with pytest.raises(DataError, match="no such file or folder"):
        find_checkpoint(tmp_path / "nowhere")
