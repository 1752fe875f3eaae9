"""The floor under make-targets: every PNG of a competition decoded and thrown away."""

from functools import partial

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.io.images import read_pixels
from kaggle_unet.steps.parallel import map_samples


def decode_pngs(settings, data, workers):
    """Decode the image and the masks of every sample with the step's own decoder and pool.

    Parameters
    ----------
    settings : kaggle_unet.competitions.competition.CompetitionSettings
        Of a competition with mask files.
    data : str
        What `--data` takes.
    workers : int
        Processes.

    Returns
    -------
    int
        Files decoded.
    """
    source = get_competition(settings.name).read(data, settings, with_masks=True)
    return sum(map_samples(partial(_decode_sample, source), source.ids, workers))


def _decode_sample(source, sample_id):
    archive, masks = source.archive, source.masks.files[sample_id]
    for name, purpose in [(source.images[sample_id], "image"), *((mask, "mask") for mask in masks)]:
        read_pixels(archive.read(name), archive.where(name), purpose)
    return 1 + len(masks)
