"""Where two trees of plain values differ."""

from kaggle_unet.store import find_differences


def test_differences_are_listed_key_by_key():
    first = {"model": {"name": "smp", "encoder": "resnet18"}, "input": {"channels": ["gray"]}, "seed": 1}
    second = {"model": {"name": "smp", "encoder": "resnet34", "depth": 4}, "input": {"channels": ["gray"]}, "seed": 1}
    assert find_differences(first, first) == []
    assert find_differences(first, second) == [
        ("model.depth", None, 4),
        ("model.encoder", "resnet18", "resnet34"),
    ]
