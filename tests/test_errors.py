"""Errors: what they show, and what they end with."""

import pytest

from kaggle_unet import errors
from kaggle_unet.errors import ConfigError, DataError, KitError, import_extra
from kaggle_unet.training.failures import TrainingFailure


def test_every_kind_of_error_has_its_own_exit_code():
    kinds = [KitError, *KitError.__subclasses__()]
    assert [kind.exit_code for kind in kinds if kind is not TrainingFailure] == [1, 2, 3, 4, 5]
    assert TrainingFailure.exit_code == KitError.exit_code  # the bug may be anybody's


def test_the_tree_in_the_docstring_is_the_tree():
    for kind in KitError.__subclasses__():
        assert f"── {kind.__name__:<19}{kind.exit_code} " in errors.__doc__


def test_a_data_error_lists_its_problems_and_counts_those_beyond_five():
    problems = [f"file {n}" for n in range(8)]
    error = DataError("bad files", problems)
    assert "file 4\n" in str(error)
    assert "file 5" not in str(error)
    assert str(error).endswith("… and 3 more; --json lists them all")
    assert list(error.problems) == problems
    assert str(DataError("bad", ["a", "b"])) == "bad\n  - a\n  - b"


def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it():
    assert import_extra("roifile").ImagejRoi
    with pytest.raises(ConfigError, match=r"needs no_such \(.*\); install it with: .*'\.\[formats\]'"):
        import_extra("no_such.module")
