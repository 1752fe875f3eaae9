"""Seeded watershed with one queue per level, first in, first out within a level.

Strategy
--------
The landscape has few levels (bytes), so the priority queue of a textbook watershed is 256 linked lists through one
array of nodes: every pixel enters exactly one list, once, which makes the flood linear in the pixels. Flat ground is
flooded breadth-first, so basins that meet there share it evenly. Pixels have eight neighbours; in which order they are
visited makes no difference.

Connected components of the ground never meet, so each is flooded by itself, from its shore: the seed pixels beside it.
What a flood needs fits the processor's cache then, where one flood of a whole image would run through all its memory
once per level. Ground with one seed round it needs no flood at all.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.classes import GROUND, HIGHEST, SEED

SHORE = 3  # seed pixels already found beside the ground that is being flooded
OPEN = 4  # ground that is being flooded
_FAR = np.iinfo(np.int32).max
NOBODY = -1
N_LEVELS = HIGHEST + 1


@jit
def flood(
    levels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    runs: NDArray[np.int32],
    order: NDArray[np.int32],
    firsts: NDArray[np.int32],
    tails: NDArray[np.int32],
    nodes: NDArray[np.int32],
    areas: NDArray[np.int64],
    labels: NDArray[np.int32],
) -> None:
    """Grow seeds over the ground, lowest level first.

    Parameters
    ----------
    levels : uint8 array, shape (H + 2, n_columns)
        The landscape, in the frame of `classes`.
    classes : uint8 array, shape (H + 2, n_columns)
        `GROUND`, `SEED` or `OUTSIDE`, with a frame of `OUTSIDE`: a row above and below, a column or more to the right.
        Where a seed has no id, it is ground, too.
    runs : int32 array, shape (n_runs, 3)
        Row, start and end of the runs of ground.
    order : int32 array, shape (n_runs,)
        The runs, component by component, in raster order within each.
    firsts : int32 array, shape (n_components + 2,)
        From 1 on: where in `order` each component starts, and where the last one ends.
    tails : int32 array, shape (256,)
        Workspace: the last node of each level's queue, or the level itself where it is empty, as on entry.
    nodes : int32 array, shape (256 + at least the ground and shore of any component, 4)
        Workspace: every queued pixel's place in `classes` and in `labels`, its id, and the node behind it. The first
        256 nodes are no pixels: behind each is the first node of a level's queue, `NOBODY` on entry.
    areas : int64 array, shape (highest id + 1,)
        Increased by the pixels that are filled, by id.
    labels : int32 array, shape (H, W)
        On entry the seeds' ids, 0 elsewhere; the ground that a seed reaches is filled.

    Notes
    -----
    Basins that reach a pixel at the same time: the one whose seed comes first in raster order takes it.
    """
    n_x, n_columns = labels.shape[1], classes.shape[1]
    heights, kinds, ids = levels.ravel(), classes.ravel(), labels.ravel()
    for component in range(1, firsts.shape[0] - 1):
        first, last = firsts[component], firsts[component + 1]
        n_above = n_level = n_nodes = N_LEVELS
        for step in range(-1, 2):
            n_shore = _find_shore(step, runs, order, first, last, n_x, n_columns, kinds, ids, n_nodes, nodes)
            n_above, n_level, n_nodes = n_level, n_nodes, n_shore
        if n_nodes == N_LEVELS:
            continue
        owner = nodes[N_LEVELS, 2]
        is_contested = False
        for node in range(N_LEVELS, n_nodes):
            kinds[nodes[node, 0]] = SEED
            is_contested |= nodes[node, 2] != owner
        for i in range(first, last):
            y = runs[order[i], 0]
            areas[owner] += runs[order[i], 2] - runs[order[i], 1]
            for x in range(runs[order[i], 1], runs[order[i], 2]):
                labels[y, x] = owner
                classes[y + 1, x] = OPEN if is_contested else GROUND
        if is_contested:
            lowest = _queue_shore(heights, n_above, n_level, n_nodes, tails, nodes)
            for node in range(
                n_nodes, _flood_component(heights, kinds, ids, n_x, n_columns, lowest, n_nodes, tails, nodes)
            ):
                areas[owner] -= 1
                areas[nodes[node, 2]] += 1


@jit
def _find_shore(
    step: int,
    runs: NDArray[np.int32],
    order: NDArray[np.int32],
    first: int,
    last: int,
    n_x: int,
    n_columns: int,
    kinds: NDArray[np.uint8],
    ids: NDArray[np.int32],
    n_nodes: int,
    nodes: NDArray[np.int32],
) -> int:
    """Make nodes of the seed pixels one row above, level with or one row below the ground beside them.

    They come in raster order; those made before are no seeds but shore, and left out. Gives the number of nodes.
    """
    for i in range(first, last):
        y = runs[order[i], 0] + step
        start, end = runs[order[i], 1], runs[order[i], 2]
        place, px = (y + 1) * n_columns + start - 1, y * n_x + start - 1
        for _ in range(end - start + 2):
            if kinds[place] == SEED and ids[px] > 0:
                kinds[place] = SHORE
                nodes[n_nodes, 0] = place
                nodes[n_nodes, 1] = px
                nodes[n_nodes, 2] = ids[px]
                n_nodes += 1
            place += 1
            px += 1
    return n_nodes


@jit
def _queue_shore(
    heights: NDArray[np.uint8],
    n_above: int,
    n_level: int,
    n_nodes: int,
    tails: NDArray[np.int32],
    nodes: NDArray[np.int32],
) -> int:
    """Queue the shore in raster order, which is the order within each of its three parts; give the lowest level."""
    above, level, below = N_LEVELS, n_above, n_level
    lowest = HIGHEST
    for _ in range(N_LEVELS, n_nodes):
        px_above = nodes[above, 1] if above < n_above else _FAR
        px_level = nodes[level, 1] if level < n_level else _FAR
        px_below = nodes[below, 1] if below < n_nodes else _FAR
        if px_above < px_level and px_above < px_below:
            node = above
            above += 1
        elif px_level < px_below:
            node = level
            level += 1
        else:
            node = below
            below += 1
        lowest = min(lowest, _queue(node, int(heights[nodes[node, 0]]), tails, nodes))
    return lowest


@jit
def _flood_component(
    heights: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    ids: NDArray[np.int32],
    n_x: int,
    n_columns: int,
    lowest: int,
    n_nodes: int,
    tails: NDArray[np.int32],
    nodes: NDArray[np.int32],
) -> int:
    """Flood the open ground from the queued nodes of its shore, and count the nodes there are then."""
    n_done = N_LEVELS
    while n_done < n_nodes:
        node = nodes[lowest, 3]
        if node == NOBODY:
            lowest += 1
            continue
        n_done += 1
        nodes[lowest, 3] = nodes[node, 3]
        tails[lowest] = lowest if tails[lowest] == node else tails[lowest]
        for row in range(-1, 2):
            for column in range(-1, 2):
                place = nodes[node, 0] + row * n_columns + column
                if kinds[place] == OPEN:
                    kinds[place] = GROUND
                    px = nodes[node, 1] + row * n_x + column
                    ids[px] = nodes[node, 2]
                    nodes[n_nodes, 0] = place
                    nodes[n_nodes, 1] = px
                    nodes[n_nodes, 2] = nodes[node, 2]
                    lowest = min(lowest, _queue(n_nodes, int(heights[place]), tails, nodes))
                    n_nodes += 1
    return n_nodes


@jit
def _queue(node: int, level: int, tails: NDArray[np.int32], nodes: NDArray[np.int32]) -> int:
    """Put a node at the end of its level's queue and give the level back."""
    nodes[node, 3] = NOBODY
    nodes[tails[level], 3] = node
    tails[level] = node
    return level
