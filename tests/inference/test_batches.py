from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.inference.predict import plan_batches
from kaggle_unet.inference.settings import InferenceSettings

sizes = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.tuples(st.integers(1, 70), st.integers(1, 70)))


@given(shapes=sizes, size=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_every_image_is_in_exactly_one_batch_whatever_the_order_of_ids(shapes, size):
    batches = plan_batches(shapes, InferenceSettings(batch=size, pad_to_multiple=32))
    assert sorted(sample for batch in batches for sample in batch) == sorted(shapes)
    assert all(1 <= len(batch) <= size for batch in batches)
    backwards = dict(reversed(shapes.items()))
    assert plan_batches(backwards, InferenceSettings(batch=size, pad_to_multiple=32)) == batches


def test_images_of_one_padded_size_share_batches_and_the_last_may_be_short():
    shapes = {"d": (64, 33), "c": (30, 30), "b": (32, 1), "a": (1, 32)}
    assert plan_batches(shapes, InferenceSettings(batch=2, pad_to_multiple=32)) == [("a", "b"), ("c",), ("d",)]


def test_the_margin_counts_towards_the_padded_size():
    shapes = {"a": (30, 30), "b": (10, 10)}
    assert plan_batches(shapes, InferenceSettings(batch=2, pad_to_multiple=32), margin=2) == [("b",), ("a",)]
