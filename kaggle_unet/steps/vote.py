"""`vote`: combine submissions for the same images into the one that most of them support."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import order_ids, read_submission, to_rles
from kaggle_unet.config import Config, plain
from kaggle_unet.errors import ConfigError
from kaggle_unet.masks.rle import decode
from kaggle_unet.postprocess.vote import to_integer_weights, vote_labels, vote_mask
from kaggle_unet.steps.check import (
    Submission,
    describe_data,
    find_black,
    naming_unread,
    read_sizes,
    refuse_faults,
    refuse_output,
    write_checked,
)
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.store import sha256
from kaggle_unet.store.atomic import refuse_to_replace


def vote(
    config: Config,
    csvs: Sequence[Path],
    data: str,
    output: Path,
    *,
    weights: Sequence[float] | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Submission:
    """Write the submission that results from a vote of several."""
    refuse_output(output)
    if config.codec.classes:
        raise ConfigError("vote counts objects, and the codec classes has none; submit averages several --checkpoint")
    if len(csvs) < 2:
        raise ConfigError(f"vote: --csv names {len(csvs)} submission; expected two or more: repeat --csv")
    refuse_to_replace([output], csvs)
    if weights and len(weights) != len(csvs):
        msg = f"--weight: {len(weights)} given for {len(csvs)} CSVs; repeat it, one for each --csv, in order"
        raise ConfigError(msg)
    int_weights = to_integer_weights(weights or None, len(csvs))
    competition = get_competition(config.competition.name)
    source = competition.read(data, config.competition, with_masks=False, skip_bad=True)
    shapes, unread = read_sizes(source)
    with naming_unread(unread):
        for csv in csvs:
            refuse_faults(csv, competition, shapes)
    rles = [read_submission(csv, competition.name) for csv in csvs]
    is_single = competition.single_object or config.decode.single_object
    voted_rles: dict[str, list[str]] = {}
    for id_ in order_ids(source.ids, competition, data):
        sets = [decode(voted[id_], shapes[id_]) for voted in rles]
        if is_single:
            labels = vote_mask([voted > 0 for voted in sets], int_weights).astype(np.int32)
        else:
            labels = vote_labels(sets, int_weights)
        voted_rles[id_] = to_rles(labels, competition, id_)
        on_progress("images", len(voted_rles), len(shapes))
    votes: list[dict[str, Any]] = [
        {
            "name": "/".join(csv.parts[-2:]),
            "sha256": sha256(csv.expanduser()),
            "weight": weight,
            "objects": sum(map(len, voted.values())),
        }
        for csv, voted, weight in zip(csvs, rles, weights or [1] * len(csvs), strict=True)
    ]
    manifest = {
        "warnings": [*_check_votes(csvs, [vote["sha256"] for vote in votes], int_weights), *unread],
        "data": describe_data(data, source),
        "votes": votes,
        "config": {**plain(config, "competition"), "decode": {"single_object": is_single}},
    }
    how = "votes    " + ", ".join(f"{vote['name']} {vote['weight']:g}" for vote in votes)
    black = find_black(competition, source)
    return write_checked(output, competition, voted_rles, shapes, black=black, how=how, manifest=manifest)


def _check_votes(csvs: Sequence[Path], hashes: Sequence[str], weights: Sequence[int]) -> list[str]:
    found = []
    firsts: dict[str, Path] = {}
    for csv, digest, weight in zip(csvs, hashes, weights, strict=True):
        if 2 * weight > sum(weights):
            found.append(f"{csv.name} weighs more than all others together: it alone decides")
        if digest in firsts:
            found.append(f"{csv.name} is the same file as {firsts[digest].name}: it votes twice")
        firsts.setdefault(digest, csv)
    return found
