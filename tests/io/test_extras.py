import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.io.extras import import_extra


def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it():
    assert import_extra("roifile").ImagejRoi
    with pytest.raises(ConfigError, match=r"needs no_such \(.*\); install it with: .*'\.\[formats\]'"):
        import_extra("no_such.module")
