"""Images that are empty whatever was decoded."""

import numpy as np
import pytest

from kaggle_unet.postprocess.clean import PostprocessSettings
from kaggle_unet.postprocess.decoder import apply_rules

SEEN = np.array([[0, 9], [9, 9]], np.uint8)
SALT = np.array([[0, 1], [1, 1]], np.int32)


@pytest.mark.parametrize(
    ("labels", "image", "rules", "is_emptied"),
    [
        (SALT, SEEN, {"constant_is_empty": True, "full_is_empty": True}, False),
        (SALT, SEEN * 0, {"constant_is_empty": True}, True),
        (SALT, np.full((2, 2, 3), 7, np.uint8), {"constant_is_empty": True}, True),
        (SALT, SEEN * 0, {"full_is_empty": True}, False),
        (SALT * 0 + 1, SEEN, {"full_is_empty": True}, True),
        (np.array([[1, 2], [2, 2]], np.int32), SEEN, {"full_is_empty": True}, True),
        (SALT * 0 + 1, SEEN, {}, False),
    ],
)
def test_each_rule_empties_what_it_names(labels, image, rules, is_emptied):
    before = labels.copy()

    found = apply_rules(labels, image, PostprocessSettings(**rules))

    assert (found == (0 if is_emptied else labels)).all()
    assert (labels == before).all()
