"""Seeded watershed with one queue per level, first in, first out within a level.

Strategy. Elevation has few levels (bytes), so the priority queue of a textbook watershed is 256 linked lists through
one array of nodes: every pixel enters exactly one list, once, which makes the flood linear in the pixels. Flat parts
are flooded breadth-first, so basins that meet there share them evenly. Pixels have eight neighbours; in which order
they are visited makes no difference. Of the seeds, only the edge is queued: pixels next to others of the mask.

A component of the mask with one seed is one instance, and one without any may be: neither needs a flood. Those with
several are contested. They never meet, so each is flooded by itself: its data fits the processor's cache, whereas one
flood of the whole image would go through all its memory once per level. A run is ``(row, start, end)``; `end` is the
first column after it.
"""

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.kernels._jit import jit
from kaggle_unet.kernels.labels import HIGHEST, INSIDE, SEED


@jit
def assign_uncontested(
    runs: NDArray[np.int32],
    ids: NDArray[np.int32],
    seed_runs: NDArray[np.int32],
    seed_ids: NDArray[np.int32],
    min_seed_px: int,
    keep_seedless: bool,
    owners: NDArray[np.int32],
    n_seeds: NDArray[np.int32],
    instances: NDArray[np.int32],
    areas: NDArray[np.int64],
    classes: NDArray[np.uint8],
) -> int:
    """Assign an instance to components with one seed, or none; return the number of pixels in those with several."""
    for run in range(seed_runs.shape[0]):  # areas for now, below zero to tell them from components
        owners[seed_ids[run]] -= seed_runs[run, 2] - seed_runs[run, 1]
    mask_run = 0
    for run in range(seed_runs.shape[0]):
        seed = seed_ids[run]
        if owners[seed] < 0 and -owners[seed] < min_seed_px:
            owners[seed] = 0
        elif owners[seed] < 0:
            while runs[mask_run, 0] < seed_runs[run, 0] or runs[mask_run, 2] <= seed_runs[run, 1]:
                mask_run += 1
            owners[seed] = ids[mask_run]
            n_seeds[ids[mask_run]] += 1
    n_px = 0
    for run in range(runs.shape[0]):
        n = n_seeds[ids[run]]
        instances[run] = owners.shape[0] - 1 + ids[run] if n == 1 or (n == 0 and keep_seedless) else 0
        areas[instances[run]] += runs[run, 2] - runs[run, 1]
        if n > 1:
            n_px += runs[run, 2] - runs[run, 1]
    for run in range(seed_runs.shape[0]):
        if n_seeds[owners[seed_ids[run]]] < 2:
            seed_ids[run] = 0
            for x in range(seed_runs[run, 1], seed_runs[run, 2]):
                classes[seed_runs[run, 0], x] = INSIDE
        areas[seed_ids[run]] += seed_runs[run, 2] - seed_runs[run, 1]
    return n_px


EDGE = 3
END = -1
N_LEVELS = HIGHEST + 1


@jit
def link_contested(ids: NDArray[np.int32], n_seeds: NDArray[np.int32], links: NDArray[np.int32]) -> None:
    """Link the runs of each component that holds several seeds.

    Must hold: `links` are `END`, first the next run of every run, then the first run of every component.
    """
    for run in range(ids.shape[0] - 1, -1, -1):
        if n_seeds[ids[run]] > 1:
            first = ids.shape[0] + ids[run]
            links[run] = links[first]
            links[first] = run


@jit
def flood(
    levels: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    runs: NDArray[np.int32],
    links: NDArray[np.int32],
    nodes: NDArray[np.int32],
    areas: NDArray[np.int64],
    labels: NDArray[np.int32],
) -> None:
    """Grow seeds over the components whose runs are linked, lowest level first.

    If basins reach a pixel at the same time, the one whose seed comes first in raster order takes it.

    Must hold: levels and kinds have the frame of `blank_classes`. A node is (place, pixel, label, next); the first
    `N_LEVELS` are heads of the levels' lists, (tail, `END`, `END`, `END`), with themselves as tails.
    """
    n_x, n_columns = labels.shape[1], kinds.shape[1]
    levels, kinds, labels = levels.reshape(-1), kinds.reshape(-1), labels.reshape(-1)
    for component in range(runs.shape[0], links.shape[0]):
        run = links[component]
        while run != END:
            row = (runs[run, 0] + 1) * n_columns
            for place in range(row + runs[run, 1], row + runs[run, 2]):
                if kinds[place] == INSIDE:
                    for line in range(-1, 2):
                        for column in range(-1, 2):
                            near = place + line * n_columns + column
                            kinds[near] += kinds[near] == SEED  # makes seeds edges and leaves others alone
            run = links[run]
        n_nodes, lowest = N_LEVELS, HIGHEST
        run = links[component]
        while run != END:  # edges are queued in raster order
            row = (runs[run, 0] + 1) * n_columns
            px = runs[run, 0] * n_x - row
            for place in range(row + runs[run, 1], row + runs[run, 2]):
                if kinds[place] == EDGE:
                    kinds[place] = SEED
                    level = int(levels[place])
                    lowest = level if level < lowest else lowest
                    nodes[n_nodes, 0] = place
                    nodes[n_nodes, 1] = px + place
                    nodes[n_nodes, 2] = labels[px + place]
                    nodes[n_nodes, 3] = END
                    nodes[nodes[level, 0], 3] = n_nodes
                    nodes[level, 0] = n_nodes
                    n_nodes += 1
            run = links[run]
        n_done = N_LEVELS
        while n_done < n_nodes:
            node = nodes[lowest, 3]
            if node == END:
                lowest += 1
                continue
            n_done += 1
            nodes[lowest, 3] = nodes[node, 3]
            if nodes[lowest, 0] == node:
                nodes[lowest, 0] = lowest
            for line in range(-1, 2):
                for column in range(-1, 2):
                    place = nodes[node, 0] + line * n_columns + column
                    if kinds[place] == INSIDE:
                        kinds[place] = SEED
                        px = nodes[node, 1] + line * n_x + column
                        labels[px] = nodes[node, 2]
                        areas[nodes[node, 2]] += 1
                        level = int(levels[place])
                        lowest = level if level < lowest else lowest
                        nodes[n_nodes, 0] = place
                        nodes[n_nodes, 1] = px
                        nodes[n_nodes, 2] = nodes[node, 2]
                        nodes[n_nodes, 3] = END
                        nodes[nodes[level, 0], 3] = n_nodes
                        nodes[level, 0] = n_nodes
                        n_nodes += 1
