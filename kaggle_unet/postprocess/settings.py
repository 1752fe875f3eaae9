"""Settings of the post-processing of decoded labels."""

from typing import Annotated

from pydantic import Field

from kaggle_unet.types import Settings


class PostprocessSettings(Settings):
    """Cleaning of decoded labels, in this order.

    Attributes
    ----------
    fill_holes_px : int
        Holes of at most this many pixels inside an instance are filled; 0 fills none.
    min_area_px : int
        Instances with fewer pixels are dropped.
    constant_is_empty : bool
        An image whose pixels are all equal has no instance: the black tiles of TGS.
    full_is_empty : bool
        An image covered entirely by instances has none: tiles inside the salt are labelled empty in TGS.

    Examples
    --------
    >>> PostprocessSettings(min_area_px=16).fill_holes_px
    0
    """

    fill_holes_px: Annotated[int, Field(ge=0)] = 0
    min_area_px: Annotated[int, Field(ge=0)] = 0
    constant_is_empty: bool = False
    full_is_empty: bool = False
