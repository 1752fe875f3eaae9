import numpy as np
import pytest

from kaggle_unet.masks.labels import components
from kaggle_unet.metrics.score import score_image
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings, DecodeSettings
from tests import realdata

pytestmark = pytest.mark.realdata

WITH_BORDER = sorted(set(CODECS) - {"mask"})


@pytest.mark.parametrize(
    ("rule", "radius_px", "floor"),
    [("touching", 1, 0.99), ("touching", "by_size", 0.99), ("contour", 1, 0.985), ("contour", "by_size", 0.98)],
)
@pytest.mark.parametrize("name", WITH_BORDER)
def test_a_perfect_network_nearly_reaches_one(real_data, name, rule, radius_px, floor):
    codec, settings = CODECS[name], BorderSettings(rule=rule, radius_px=radius_px)
    labels = realdata.dsb2018_labels(real_data)[0].values()

    round_trip_score = np.mean(
        [score_image(of, codec.decode(codec.encode(of, settings), DecodeSettings())).mean for of in labels]
    )

    print(f"{name} {rule} {radius_px}: {round_trip_score:.4f}")
    assert round_trip_score >= floor


def test_a_perfect_network_without_border_reaches_three_quarters(real_data):
    codec = CODECS["mask"]
    labels = realdata.dsb2018_labels(real_data)[0].values()

    round_trip_score = np.mean(
        [score_image(of, codec.decode(codec.encode(of, BorderSettings()), DecodeSettings())).mean for of in labels]
    )

    assert round_trip_score == pytest.approx(0.7544, abs=0.0001)


@pytest.mark.parametrize("name", WITH_BORDER)
def test_no_two_nuclei_share_a_seed_and_none_is_without(real_data, name):
    labels, n_contested, n_empty = realdata.dsb2018_labels(real_data)
    n_seen = 0
    for of_image in labels.values():
        core, border = CODECS[name].encode(of_image, BorderSettings())[:2] > 0
        seeds = components(core & ~border)
        pairs = np.unique(np.stack([seeds[seeds > 0], of_image[seeds > 0]]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1]
        assert len(np.unique(pairs[1])) == of_image.max()
        n_seen += int(of_image.max())

    assert (len(labels), n_seen, n_contested, n_empty) == (664, 28986, 9, 0)
