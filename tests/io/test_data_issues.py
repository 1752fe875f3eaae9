"""Data issues: what counts as a hole, a piece, too many."""

import numpy as np
import pytest

from kaggle_unet.io.data_issues import Note, describe_objects, to_data_issues
from kaggle_unet.types import DataIssue

RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])


def count(labels, kind):
    return next(note.count for note in describe_objects(np.asarray(labels, np.int32)) if note.kind == kind)


@pytest.mark.parametrize(
    ("labels", "n"),
    [
        (RING, 1),
        (RING + (RING == 0) * 2, 1),  # another instance in the hole
        ([[1, 1, 1], [1, 0, 1], [1, 1, 0]], 1),  # a corner does not open a hole
        ([[1, 1, 1], [1, 0, 0], [1, 1, 1]], 0),  # a bay
        ([[1, 0, 1], [1, 1, 1]], 0),  # a bay at the edge
        ([[0, 0]], 0),
    ],
)
def test_holes_are_what_one_instance_encloses(labels, n):
    assert count(labels, "instances with holes") == n


@pytest.mark.parametrize(
    ("labels", "n"),
    [([[1, 0, 1]], 1), ([[1, 2, 1]], 1), ([[1, 0], [0, 1]], 0), ([[1, 0, 1], [2, 0, 2], [1, 0, 0]], 2), ([[1, 1]], 0)],
)
def test_pieces_are_joined_over_corners(labels, n):
    assert count(labels, "instances in several pieces") == n


@pytest.mark.parametrize(("n", "counted"), [(255, 0), (256, 256)])
def test_more_than_255_instances_are_counted(n, counted):
    assert count(np.arange(1, n + 1).reshape(1, -1), "more than 255 instances") == counted


def test_an_image_without_instances_is_noted():
    assert count([[0, 0]], "images without instances") == 1
    assert count([[0, 1]], "images without instances") == 0


def test_notes_of_one_kind_are_added_up_and_zeros_left_out():
    notes = [Note("x", 2, "kept"), Note("y", 0, "kept"), Note("x", 3, "kept"), Note("x", 1, "dropped")]
    assert to_data_issues("a", notes) == (DataIssue("a", "x", 5, "kept"), DataIssue("a", "x", 1, "dropped"))
