import dataclasses

import numpy as np
import pytest

from kaggle_unet.data.augment import PRESETS, CachedSample, augment, stable_seed
from kaggle_unet.data.batch import PadSpec, crop
from kaggle_unet.data.dataset import TrainingSet, ValidationSet
from kaggle_unet.data.inputs import prepare
from kaggle_unet.data.settings import AugmentationSettings, InputSettings
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import relabel
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecSettings, SizeWeight, WeightSettings
from kaggle_unet.targets.weights import encode_with_weights
from kaggle_unet.types import Sample

CODEC = CODECS["interior_border_background"]
ENCODING = {
    "inputs": InputSettings(),
    "codec": CodecSettings(),
    "weights": WeightSettings(classes={"border": 2.0}),
}


def sample(shape=(40, 48), id_="a", **more):
    """Two touching squares and one by itself."""
    labels = np.zeros(shape, np.int32)
    labels[6:14, 4:12], labels[6:14, 12:20], labels[22:30, 8:16] = 1, 2, 3
    noise = np.random.default_rng(len(id_)).integers(0, 20, shape)
    return Sample(id_, ((labels > 0) * 150 + noise).astype(np.uint8), labels, **more)


def training_set(samples, preset="none", pad_spec=PadSpec(), encoding=ENCODING, seed=0, **augmentation):  # noqa: B008
    settings = AugmentationSettings(preset=preset, **augmentation)
    return TrainingSet(samples, **encoding, augmentation=settings, pad_spec=pad_spec, seed=seed)


def validation_set(samples, pad_spec=PadSpec(16), batch=2):  # noqa: B008
    targets = {s.id: encode_with_weights(s.labels, ENCODING["codec"], ENCODING["weights"], s.ignore) for s in samples}
    return ValidationSet(samples, targets.__getitem__, inputs=ENCODING["inputs"], pad_spec=pad_spec, batch=batch)


def test_a_whole_image_is_padded_with_pixels_that_do_not_count():
    one = sample()
    item = training_set([one], pad_spec=PadSpec(32))[1, 0]
    assert item.inputs.shape == (1, 64, 64)
    inside = (slice(12, 52), slice(8, 56))
    np.testing.assert_allclose(crop(item.inputs, inside), prepare(one.image, ENCODING["inputs"]), atol=1e-5)
    assert (crop(item.planes, inside) == CODEC.encode(one.labels, ENCODING["codec"].border)).all()
    assert (item.weights[inside] > 0).all()
    assert item.weights.sum() == item.weights[inside].sum()


def test_planes_are_encoded_from_the_labels_of_the_crop():
    one = sample()
    items = training_set([one], "nuclei", crop_px=24, seed=7)
    for epoch in range(1, 12):
        settings = AugmentationSettings(preset="nuclei", crop_px=24)
        crop = augment(CachedSample.of(one, ENCODING["inputs"]), settings, seed=stable_seed(7, epoch, 0))
        expected = CODEC.encode(relabel(crop.labels), ENCODING["codec"].border)
        assert (items[epoch, 0].planes == expected).all()


def test_a_codec_is_given_consecutive_ids_whatever_the_crop_has_left(monkeypatch):
    seen = []

    def spy(labels, *settings):
        seen.append(np.unique(labels).tolist())
        return encode_with_weights(labels, *settings)

    monkeypatch.setattr("kaggle_unet.data.dataset.encode_with_weights", spy)
    items = training_set([sample()], crop_px=16, seed=1)
    for epoch in range(20):
        items[epoch, 0]
    assert all(ids == list(range(len(ids))) for ids in seen)
    assert [0, 1] in seen


def test_intensity_changes_in_proportion_to_the_image_s_own_range():
    one = sample()
    dark = Sample("dark", (one.image // 8).astype(np.uint8), one.labels)
    items = training_set([dark], "light")
    plain = training_set([dark])[0, 0].inputs
    # light: contrast up to 1.2, brightness up to 0.1
    assert max(items[epoch, 0].inputs.max() for epoch in range(30)) < plain.max() * 1.2 + 0.15
    assert min(items[epoch, 0].inputs.min() for epoch in range(30)) > plain.min() * 1.2 - 0.15


@pytest.mark.parametrize("preset", ["none", "light"])
def test_a_crop_without_objects_stays_dark(preset):
    image = np.random.default_rng(0).integers(0, 12, (80, 80), dtype=np.uint8)
    labels = np.zeros((80, 80), np.int32)
    labels[60:70, 60:70] = 1
    image[labels > 0] = 200
    items = training_set([Sample("a", image, labels)], preset, crop_px=24)
    dark = [item for item in (items[epoch, 0] for epoch in range(40)) if not item.planes[0].any()]
    assert len(dark) > 10
    assert max(np.median(item.inputs) for item in dark) < 0.2


def test_weights_are_those_of_the_crop():
    encoding = ENCODING | {"weights": WeightSettings(size=SizeWeight(reference_area_px=256, gamma=0.5))}
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
    encoding = ENCODING | {"inputs": InputSettings(channels=("gray", "depth"))}
    item = training_set([sample(numbers={"depth": 500.0})], encoding=encoding)[1, 0]
    assert item.inputs.shape[0] == 2
    assert np.unique(item.inputs[1]) == [0.5]


def test_a_crop_of_a_network_without_padding_takes_more_of_the_image():
    item = training_set([sample((80, 80))], crop_px=32, pad_spec=PadSpec(16, 10))[1, 0]
    assert item.inputs.shape == (1, 64, 64)
    assert (item.weights > 0).all()


def test_copied_nuclei_are_in_the_planes():
    one = sample((80, 80))
    items = training_set([one], "first_place", crop_px=64, seed=1)
    plain = training_set([one], "nuclei", crop_px=64, seed=1)
    more = [items[e, 0].planes[0].sum() for e in range(60)]
    assert max(more) > max(plain[e, 0].planes[0].sum() for e in range(60))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_item_of_two_epochs_is_like_another_and_each_is_always_the_same(preset):
    samples = [sample((60, 70), "a"), sample((64, 64), "bb")]
    first, again = (training_set(samples, preset, crop_px=24, crops_per_image=4, seed=5) for _ in range(2))
    keys = [(epoch, index) for epoch in (1, 2) for index in range(8)]
    shown = [first[key].inputs.tobytes() for key in keys]
    assert len(set(shown)) >= (len(keys) if preset != "none" else 12)  # `none` can draw the same place twice
    # asked for in another order, as other workers would
    assert [again[key].inputs.tobytes() for key in reversed(keys)] == shown[::-1]


@pytest.mark.parametrize(("n_images", "length"), [(10, 4), (3, 7), (5, 5)])
def test_short_epochs_go_on_where_the_last_one_stopped(n_images, length):
    items = training_set([sample(id_=f"{i}") for i in range(n_images)], crop_px=16, crops_per_epoch=length)
    assert len(items) == length
    ids = [items[epoch, index].id for epoch in range(1, 12) for index in range(length)]
    passes = [ids[start : start + n_images] for start in range(0, len(ids) - n_images + 1, n_images)]
    assert all(sorted(one) == sorted(f"{i}" for i in range(n_images)) for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_rare_types_are_drawn_more_often_in_an_epoch_of_the_same_length():
    samples = [sample(id_=f"{i}", kind="dark" if i else "bright") for i in range(9)]
    counts = {}
    for sampling in ("uniform", "kind"):
        items = training_set(samples, crop_px=16, crops_per_image=2, sampling=sampling, sampling_strength=1.0)
        assert len(items) == 18
        counts[sampling] = [sum(items[e, i].id == "0" for i in range(18)) for e in (1, 2, 3)]
    assert counts == {"uniform": [2, 2, 2], "kind": [9, 9, 9]}


def test_rare_coverages_are_drawn_more_often():
    samples = [sample((200, 200), id_=f"{i}") for i in range(4)]
    samples.append(Sample("full", samples[0].image, np.ones((200, 200), np.int32)))
    items = training_set(samples, crop_px=16, crops_per_image=4, sampling="coverage", sampling_strength=1.0)
    assert [items[1, i].id for i in range(20)].count("full") == 10


def test_samples_are_drawn_by_seed_and_epoch():
    samples = [sample(id_=f"{i}", kind=str(i % 3 > 0)) for i in range(12)]

    def ids(seed, epoch):
        items = training_set(samples, crop_px=16, sampling="kind", sampling_strength=0.7, seed=seed)
        items[9, 0]  # of another epoch in between
        return tuple(items[epoch, i].id for i in range(12))

    assert ids(0, 1) == ids(0, 1)
    assert len({ids(seed, epoch) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_crops_find_objects_as_asked():
    labels = np.zeros((200, 200), np.int32)
    labels[100:104, 60:64] = 1
    one = Sample("a", (labels * 200).astype(np.uint8), labels)
    found = [
        sum(training_set([one], crop_px=32, crop_finds_objects=p)[e, 0].planes[0].any() for e in range(50))
        for p in (0.0, 1.0)
    ]
    assert found[0] < 10
    assert found[1] == 50


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
            [Sample("x", np.zeros((4, 4), np.uint8))],
            lambda _: None,
            inputs=InputSettings(),
            pad_spec=PadSpec(),
            batch=1,
        )


def test_validation_batches_hold_images_of_one_padded_size_each_image_once():
    samples = [sample((40, 40), "c"), sample((64, 64), "a"), sample((33, 48), "b"), sample((48, 48), "d")]
    batches = [batch for batch, _, _ in validation_set(samples).batches()]
    assert [batch.ids for batch in batches] == [["b", "c"], ["d"], ["a"]]
    assert [tuple(batch.inputs.shape) for batch in batches] == [(2, 1, 48, 48), (1, 1, 48, 48), (1, 1, 64, 64)]


def test_validation_gives_back_the_stored_targets_and_the_truth():
    one = sample((33, 41))
    ((batch, (slices,), samples),) = validation_set([one], pad_spec=PadSpec(16, 4)).batches()
    planes, weights = encode_with_weights(one.labels, ENCODING["codec"], ENCODING["weights"])
    assert (crop(batch.planes[0].numpy(), slices) == planes).all()
    assert (batch.weights[0].numpy()[slices] == weights).all()
    assert batch.weights.sum() == weights.sum()
    np.testing.assert_array_equal(crop(batch.inputs[0].numpy(), slices), prepare(one.image, InputSettings()))
    assert samples == [one]


def test_an_empty_validation_set_is_refused():
    with pytest.raises(DataError, match="validation set is empty"):
        validation_set([])


def test_crops_of_classes_are_neither_aimed_at_nor_drawn_by_pixels_of_no_known_class():
    one = sample()
    labels = np.where(one.labels == 3, 255, one.labels > 0).astype(np.int32)
    known = dataclasses.replace(one, labels=np.where(labels == 255, 0, labels).astype(np.int32))
    encoding = {**ENCODING, "codec": CodecSettings(name="classes", classes=("a", "b")), "weights": WeightSettings()}
    sets = [
        training_set([each, sample(id_="empty")], encoding=encoding, sampling="coverage", crop_px=16)
        for each in (dataclasses.replace(one, labels=labels), known)
    ]
    centres, strata = zip(*[(each.cached_samples[0].centres_yx.tolist(), each._strata) for each in sets], strict=True)
    assert centres[0] == centres[1] == [[10, 12]]
    assert strata[0] == strata[1]
