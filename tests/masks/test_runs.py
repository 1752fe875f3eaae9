import numpy as np

from kaggle_unet.masks.runs import merge_runs, runs_of_mask, split_runs


def test_runs_are_listed_by_ascending_id():
    ids, runs = split_runs(np.array([[5, 2], [5, 5]], dtype=np.int32))

    assert ids.tolist() == [2, 5]
    assert [instance.tolist() for instance in runs] == [[[2, 1]], [[0, 2], [3, 1]]]


def test_no_instance_has_no_runs():
    ids, runs = split_runs(np.zeros((2, 2), dtype=np.int32))

    assert ids.size == 0
    assert runs == []
    assert runs_of_mask(np.zeros((2, 2), dtype=bool)).shape == (0, 2)


def test_merging_what_was_split_gives_the_labels_back():
    labels = np.array([[1, 1, 0], [2, 1, 3]], dtype=np.int32)

    merged, n_contested = merge_runs(split_runs(labels)[1], labels.shape)

    assert (merged == labels).all()
    assert n_contested == 0


def test_of_equals_the_one_with_the_first_pixel_not_in_both_wins_also_beyond_a_byte():
    early, late = np.array([[0, 1], [255, 1]]), np.array([[0, 1], [256, 1]])

    assert merge_runs([late, early], (300, 1))[0][0, 0] == 2
    assert merge_runs([early, late], (300, 1))[0][0, 0] == 1


def test_an_instance_hidden_by_its_equal_leaves_a_gap_in_the_ids():
    runs = np.array([[0, 1]])

    merged, n_contested = merge_runs([runs, runs, np.array([[1, 1]])], (2, 1))

    assert merged.ravel().tolist() == [1, 3]
    assert n_contested == 1
