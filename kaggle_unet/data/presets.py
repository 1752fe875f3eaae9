"""What may happen to a sample, by name: the recipes of the competitions' winners, and plainer ones.

`first_place` is the recipe of the 1st place of DSB2018 [1]_ [2]_, whose authors name channel shuffle and copied nuclei
as what helped most, and found that less augmentation scores better in validation and worse on the test set. What each
part is for:

- quarter turns, mirror: a slide has no up and no left.
- zoom and rotation (0.7 of all samples, ±45°): nuclei of one type differ 26-fold in area between images.
- bending (0.6): one smooth distortion in place of their five (grid, optical, elastic, perspective, piecewise affine).
- no colours, channels in another order (0.25, 0.2), hue and saturation (0.5): a network shall see form, not the stain.
- bright and dark exchanged (0.2): fluorescence and brightfield become one task. Within the image's own levels.
- CLAHE, sharper, embossed (0.35, one of them); mean, median or motion blur (0.4): microscopes differ in focus.
- contrast and brightness (0.4), noise (0.5): cameras differ; in the image's own range, where theirs drowned dark ones.
- copied nuclei (0.25, one to five of them): more neighbours that touch, which is what border planes are learnt from.

Left out: fluorescence recoloured as stained tissue, which needs networks that see colours. Repaired: their shift,
always rounded to 0, is the crop's place here; their borders, which the zoom made wider, are rebuilt from the labels.

`salt_first_place` is the geometry of the 1st place of TGS [3]_: the left and right exchanged, never up and down; a zoom
of 0.4 to 1.6 and a shift of a sixth in 0.7 of all samples, what lies outside mirrored; little brightness and contrast.

References
----------
.. [1] https://github.com/selimsef/dsb2018_topcoders, `albu/src/augmentations/transforms.py`, `victor/transforms.py`
.. [2] https://www.kaggle.com/c/data-science-bowl-2018/discussion/54741
.. [3] https://github.com/ybabakhin/kaggle_salt_bes_phalanx, `bes/`
"""

from dataclasses import dataclass

from kaggle_unet.data.tones import UNCHANGED, Tones

Range = tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """What may happen to a sample."""

    turns: bool = False
    mirror: bool = False
    p_warp: float = 0.0
    zoom: Range | None = None
    max_degrees: float = 0.0
    max_shift: float = 0.0
    p_bend: float = 0.0
    bend_px: Range = (0.0, 0.0)
    p_paste: float = 0.0
    max_pasted: int = 0
    tones: Tones = UNCHANGED


PRESETS = {
    "none": Preset(),
    "light": Preset(turns=True, mirror=True, tones=Tones(p_levels=0.5, contrast=(0.8, 1.2), brightness=(-0.1, 0.1))),
    "nuclei": Preset(
        turns=True,
        mirror=True,
        p_warp=0.5,
        max_degrees=45,
        tones=Tones(
            p_levels=0.5,
            contrast=(0.7, 1.3),
            brightness=(-0.15, 0.15),
            p_gamma=0.5,
            gamma=(0.6, 1.6),
            p_noise=0.2,
            noise=(0.01, 0.1),
            p_blur=0.2,
            p_hue=0.2,
            p_shuffle=0.2,
            p_gray=0.2,
        ),
    ),
    # A tile has an up and a down. A zoom of 1.25 shows 80 % of the tile's side, from anywhere in it.
    "salt": Preset(
        mirror=True,
        p_warp=0.4,
        zoom=(1.0, 1.25),
        tones=Tones(p_levels=0.3, contrast=(0.9, 1.1), brightness=(-0.1, 0.1)),
    ),
    "first_place": Preset(
        turns=True,
        mirror=True,
        p_warp=0.7,
        max_degrees=45,
        p_bend=0.6,
        bend_px=(1.0, 5.0),
        p_paste=0.25,
        max_pasted=5,
        tones=Tones(
            stretches=True,
            p_local=0.35,
            p_hue=0.5,
            p_shuffle=0.2,
            p_gray=0.25,
            p_soften=0.4,
            p_invert=0.2,
            p_levels=0.4,
            contrast=(0.8, 1.2),
            brightness=(-0.2, 0.2),
            p_noise=0.5,
            noise=(0.01, 0.06),
        ),
    ),
    "salt_first_place": Preset(
        mirror=True,
        p_warp=0.7,
        zoom=(0.4, 1.6),
        max_shift=0.1625,
        tones=Tones(p_levels=0.3, contrast=(0.8, 1.2), brightness=(-0.2, 0.2)),
    ),
}
