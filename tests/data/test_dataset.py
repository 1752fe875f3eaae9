import numpy as np
import pytest

from kaggle_unet.data.augment import augment, stable_seed
from kaggle_unet.data.batch import Sides
from kaggle_unet.data.dataset import Encoding, TrainingSet, ValidationSet
from kaggle_unet.data.inputs import prepare
from kaggle_unet.data.padding import crop
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import relabel
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, SizeWeight, WeightSettings
from kaggle_unet.types import Sample

CODEC = CODECS["interior_border_background"]
ENCODING = Encoding(InputSettings(), CodecSettings(), WeightSettings(classes={"border": 2.0}))


def sample(shape=(40, 48), id_="a", **more):
    """Two touching squares and one by itself."""
    labels = np.zeros(shape, np.int32)
    labels[6:14, 4:12], labels[6:14, 12:20], labels[22:30, 8:16] = 1, 2, 3
    noise = np.random.default_rng(len(id_)).integers(0, 20, shape)
    return Sample(id_, ((labels > 0) * 150 + noise).astype(np.uint8), labels, **more)


def training_set(samples, preset="none", sides=Sides(), encoding=ENCODING, seed=0, **augmentation):  # noqa: B008
    settings = AugmentationSettings(preset=preset, **augmentation)
    return TrainingSet(samples, encoding=encoding, augmentation=settings, sides=sides, seed=seed)


def validation_set(samples, sides=Sides(16), batch=2):  # noqa: B008
    targets = {s.id: ENCODING.targets(s.labels, s.ignore) for s in samples}
    return ValidationSet(samples, targets.__getitem__, inputs=ENCODING.inputs, sides=sides, batch=batch)


def test_a_whole_image_is_padded_with_pixels_that_do_not_count():
    one = sample()
    item = training_set([one], sides=Sides(32))[1, 0]
    assert item.inputs.shape == (1, 64, 64)
    inside = (slice(12, 52), slice(8, 56))
    np.testing.assert_allclose(crop(item.inputs, inside), prepare(one.image, ENCODING.inputs), atol=1e-5)
    assert (crop(item.planes, inside) == CODEC.encode(one.labels, ENCODING.codec.border)).all()
    assert (item.weights[inside] > 0).all()
    assert item.weights.sum() == item.weights[inside].sum()


def test_planes_are_made_anew_from_the_labels_of_the_view():
    one = sample()
    items = training_set([one], "nuclei", crop_px=24, seed=7)
    for epoch in range(1, 12):
        settings = AugmentationSettings(preset="nuclei", crop_px=24)
        _, labels, _ = augment(one.image, one.labels, None, settings, seed=stable_seed(7, epoch, 0))
        expected = CODEC.encode(relabel(labels), ENCODING.codec.border)
        assert (items[epoch, 0].planes == expected).all()


def test_a_codec_is_given_consecutive_ids_whatever_the_crop_has_left(monkeypatch):
    seen = []
    targets = Encoding.targets

    def spy(encoding, labels, ignore):
        seen.append(np.unique(labels).tolist())
        return targets(encoding, labels, ignore)

    monkeypatch.setattr(Encoding, "targets", spy)
    items = training_set([sample()], crop_px=16, seed=1)
    for epoch in range(20):
        items[epoch, 0]
    assert all(ids == list(range(len(ids))) for ids in seen)
    assert [0, 1] in seen


def test_tones_change_in_proportion_to_the_image_s_own_range():
    one = sample()
    dark = Sample("dark", (one.image // 8).astype(np.uint8), one.labels)
    items = training_set([dark], "light")
    plain = training_set([dark])[0, 0].inputs
    # light: contrast up to 1.2, brightness up to 0.1
    assert max(items[epoch, 0].inputs.max() for epoch in range(30)) < plain.max() * 1.2 + 0.15
    assert min(items[epoch, 0].inputs.min() for epoch in range(30)) > plain.min() * 1.2 - 0.15


def test_weights_are_those_of_the_view():
    encoding = Encoding(
        ENCODING.inputs, ENCODING.codec, WeightSettings(size=SizeWeight(reference_area_px=256, gamma=0.5))
    )
    item = training_set([sample()], encoding=encoding)[1, 0]
    # each square has 64 pixels, a quarter of the reference, and background weighs 1
    assert item.weights[26, 10] == 2
    assert item.weights[0, 0] == 1


def test_ignored_pixels_do_not_count():
    ignore = np.zeros((40, 48), bool)
    ignore[:5] = True
    item = training_set([sample(ignore=ignore)])[1, 0]
    assert not item.weights[:5].any()
    assert item.weights[5:].all()


def test_the_depth_of_a_sample_is_a_channel():
    encoding = Encoding(InputSettings(channels=("gray", "depth")), ENCODING.codec, ENCODING.weights)
    item = training_set([sample(numbers={"depth": 500.0})], encoding=encoding)[1, 0]
    assert item.inputs.shape[0] == 2
    assert np.unique(item.inputs[1]) == [0.5]


def test_a_crop_of_a_network_without_padding_takes_more_of_the_image():
    item = training_set([sample((80, 80))], crop_px=32, sides=Sides(16, 10))[1, 0]
    assert item.inputs.shape == (1, 64, 64)
    assert (item.weights > 0).all()


def test_several_crops_of_an_image_differ_within_an_epoch_and_between_epochs():
    items = training_set([sample(), sample(id_="bb")], "light", crop_px=16, crops_per_image=3)
    assert len(items) == 6
    assert [items[1, index].id for index in range(6)] == ["a", "bb"] * 3
    assert len({items[epoch, index].inputs.tobytes() for epoch in (1, 2) for index in range(6)}) == 12


def test_an_item_is_always_the_same():
    first, again = (training_set([sample()], "nuclei", crop_px=16)[3, 0] for _ in range(2))
    assert (first.inputs == again.inputs).all()
    assert (first.planes == again.planes).all()


def test_another_seed_gives_other_crops():
    first, other = (training_set([sample()], "nuclei", crop_px=16, seed=seed)[3, 0] for seed in (0, 1))
    assert (first.inputs != other.inputs).any()


def test_ids_above_sixteen_bits_are_kept_apart():
    one = sample()
    one.labels[one.labels == 2] = (1 << 16) + 1
    border = training_set([one])[1, 0].planes[1]
    assert border[8, 11] == 1


def test_a_sample_without_labels_is_refused_by_name():
    with pytest.raises(DataError, match="sample 'x' has no labels"):
        training_set([Sample("x", np.zeros((4, 4), np.uint8))])
    with pytest.raises(DataError, match="sample 'x' has no labels"):
        ValidationSet(
            [Sample("x", np.zeros((4, 4), np.uint8))], lambda _: None, inputs=InputSettings(), sides=Sides(), batch=1
        )


def test_validation_batches_hold_images_of_one_padded_size_each_image_once():
    samples = [sample((40, 40), "c"), sample((64, 64), "a"), sample((33, 48), "b"), sample((48, 48), "d")]
    wholes = list(validation_set(samples).batches())
    assert [whole.batch.ids for whole in wholes] == [["b", "c"], ["d"], ["a"]]
    assert [tuple(whole.batch.inputs.shape) for whole in wholes] == [(2, 1, 48, 48), (1, 1, 48, 48), (1, 1, 64, 64)]


def test_validation_gives_back_the_stored_targets_and_the_truth():
    one = sample((33, 41))
    (whole,) = validation_set([one], sides=Sides(16, 4)).batches()
    planes, weights = ENCODING.targets(one.labels, None)
    (slices,) = whole.slices
    assert (crop(whole.batch.planes[0].numpy(), slices) == planes).all()
    assert (whole.batch.weights[0].numpy()[slices] == weights).all()
    assert whole.batch.weights.sum() == weights.sum()
    np.testing.assert_array_equal(crop(whole.batch.inputs[0].numpy(), slices), prepare(one.image, InputSettings()))
    assert whole.labels[0] is one.labels


def test_an_empty_validation_set_is_refused():
    with pytest.raises(DataError, match="validation set is empty"):
        validation_set([])
