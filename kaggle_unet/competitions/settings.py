"""What a config says about where images and masks come from."""

from typing import Literal

from kaggle_unet.types import Settings

CompetitionName = Literal["dsb2018", "tgs", "folder"]


class CompetitionSettings(Settings):
    """Which competition, and for `folder` where its files lie below `--data`.

    Attributes
    ----------
    name : {"dsb2018", "tgs", "folder"}
        The competition.
    images : str
        `folder` only: subfolder of the images.
    masks : str
        `folder` only: subfolder of the label images (or binary masks, whose components become instances).
    folds : str, optional
        `folder` only: a CSV with columns `id,fold`, relative to the config; an id with an empty fold is left out.
    skip : tuple of str
        Ids to leave out, known bad ones.
    """

    name: CompetitionName
    images: str = "images"
    masks: str = "masks"
    folds: str | None = None
    skip: tuple[str, ...] = ()
