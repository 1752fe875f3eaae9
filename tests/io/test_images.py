"""Decoding: exact pixels from every format, and a sentence for every file that cannot be used."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.images import (
    classify_kind,
    decode_image,
    decode_mask,
    encode_png,
    encode_tiff,
    read_pixels,
    read_shape,
)
from kaggle_unet.io.label_images import read_values
from tests import strategies
from tests.files import encode, png, tiff

GRAY = np.array([[0, 1, 2], [100, 200, 255]], np.uint8)
COLOUR = np.dstack([GRAY, GRAY[::-1], 255 - GRAY])
ALPHA = np.array([[255, 0, 9], [255, 255, 255]], np.uint8)
DEEP = np.array([[0, 128, 129], [257, 40000, 65535]], np.uint16)
DEEP_COLOUR = np.dstack([DEEP, DEEP[::-1], 65535 - DEEP])
MASK = np.array([[False, True, True], [True, False, False]])


def shape_of(data, where):
    return read_shape(io.BytesIO(data), where)


def deep_png(channels):
    """Encode 16-bit channels R, G, B (and A) with OpenCV, which wants blue first."""
    order = [2, 1, 0] if channels.shape[2] == 3 else [2, 1, 0, 3]
    return cv2.imencode(".png", channels[..., order])[1].tobytes()


PALETTE = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
PALETTE.putpalette([10, 20, 30, 0, 0, 0, 200, 100, 50])
PALETTE_AS_RGB = np.array([[10, 20, 30], [0, 0, 0], [200, 100, 50]], np.uint8)[np.array([[0, 1, 2], [2, 1, 0]])]


PLANAR = tiff(np.moveaxis(DEEP_COLOUR, 2, 0), photometric="rgb", planarconfig="separate")


@pytest.mark.parametrize(
    ("data", "image", "notes"),
    [
        (png(GRAY), GRAY, []),
        (png(COLOUR), COLOUR, []),
        (png(np.dstack([GRAY] * 3)), GRAY, ["equal colour channels"]),
        (png(np.dstack([COLOUR, ALPHA])), COLOUR, ["transparent pixels"]),
        (png(np.dstack([COLOUR, np.full_like(ALPHA, 255)])), COLOUR, ["opaque alpha channel"]),
        (png(np.dstack([GRAY] * 3 + [ALPHA])), GRAY, ["transparent pixels", "equal colour channels"]),
        (png(np.dstack([GRAY, ALPHA])), GRAY, ["transparent pixels"]),
        (png(MASK), MASK * np.uint8(255), ["1-bit image"]),
        (png(PALETTE), PALETTE_AS_RGB, ["palette"]),
        (png(PALETTE, transparency=1), PALETTE_AS_RGB, ["palette", "transparent pixels"]),
        (png(DEEP), DEEP, ["16-bit image"]),
        (deep_png(DEEP_COLOUR), DEEP_COLOUR, ["16-bit image"]),
        (deep_png(np.dstack([DEEP_COLOUR, DEEP])), DEEP_COLOUR, ["transparent pixels", "16-bit image"]),
        (tiff(GRAY), GRAY, []),
        (tiff(COLOUR, photometric="rgb"), COLOUR, []),
        (tiff(DEEP), DEEP, ["16-bit image"]),
        (tiff(DEEP, byteorder=">"), DEEP, ["16-bit image"]),
        (tiff(DEEP.astype(np.uint32)), DEEP, ["16-bit image"]),
        (tiff(DEEP_COLOUR, photometric="rgb"), DEEP_COLOUR, ["16-bit image"]),
        (PLANAR, DEEP_COLOUR, ["16-bit image"]),
        (tiff(GRAY, photometric="miniswhite"), 255 - GRAY, []),
        (tiff(DEEP, photometric="miniswhite"), 65535 - DEEP, ["16-bit image"]),
        (encode(DEEP, "TIFF", compression="tiff_lzw"), DEEP, ["16-bit image"]),
        (encode(COLOUR, "BMP"), COLOUR, []),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, list) else "",
)
def test_pixels_are_exact_in_every_format(data, image, notes):
    decoded, found = decode_image(data, "a.png")
    np.testing.assert_array_equal(decoded, image)
    assert decoded.dtype == image.dtype
    assert decoded.flags.c_contiguous
    assert [note.kind for note in found] == notes
    assert shape_of(data, "a.png") == (2, 3)


def test_a_jpeg_is_decoded():
    flat = np.full((8, 12), 90, np.uint8)
    np.testing.assert_allclose(decode_image(encode(flat, "JPEG", quality=95), "a.jpg")[0], flat, atol=2)


AS_DISPLAYED = {  # what https://sirv.com/help/articles/rotate-photos-to-be-upright draws, an F's four corners
    1: "ab/cd", 2: "ba/dc", 3: "dc/ba", 4: "cd/ab", 5: "ac/bd", 6: "ca/db", 7: "db/ca", 8: "bd/ac",
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "deep png", "jpg", "webp", "tif", "16-bit tif", "rgb tif", "deep rgb tif"])
def test_images_and_masks_are_turned_as_their_tag_says(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    tag = {"extratags": [(274, "H", 1, orientation, True)]}
    corners = {"a": 0, "b": 60, "c": 120, "d": 240}
    block = np.ones((16, 24), np.uint8)
    image = np.block([[corners[name] * block for name in row] for row in ("ab", "cd")])
    deep = image.astype(np.uint16) * 257
    data = {
        "png": lambda: png(image, exif=exif),
        "deep png": lambda: png(deep, exif=exif),
        "jpg": lambda: encode(image, "JPEG", exif=exif, quality=95),
        "webp": lambda: encode(image, "WEBP", exif=exif, lossless=True),
        "tif": lambda: tiff(image, **tag),
        "16-bit tif": lambda: tiff(deep, **tag),
        "rgb tif": lambda: tiff(np.dstack([image] * 3), photometric="rgb", **tag),
        "deep rgb tif": lambda: tiff(np.dstack([deep] * 3), photometric="rgb", **tag),
    }[kind]()
    side = block if orientation < 5 else block.T
    shown = np.block([[corners[name] * side for name in row] for row in AS_DISPLAYED[orientation].split("/")])
    decoded, notes = decode_image(data, "a")
    np.testing.assert_allclose(decoded / (257 if "16" in kind or "deep" in kind else 1), shown, atol=3)
    if kind not in {"jpg", "webp"}:
        turned = read_pixels(data, "a", "mask")[0]
        np.testing.assert_array_equal((turned if turned.ndim == 2 else turned[..., 0]) > 0, shown > 0)
    assert ("orientation tag" in [note.kind for note in notes]) == (orientation != 1)
    assert shape_of(data, "a") == shown.shape


@pytest.mark.parametrize(
    "data",
    [
        png(MASK),
        png(MASK * np.uint8(255)),
        png(MASK * np.uint8(1)),
        png(MASK * np.uint16(65535)),
        png(MASK * np.uint16(1)),
        png(MASK * np.uint8(255), mode="RGB"),
        png(np.dstack([MASK * np.uint8(9), MASK * np.uint8(0), MASK * np.uint8(0)])),
        png(np.dstack([MASK * np.uint8(255)] * 3 + [np.full(MASK.shape, 255, np.uint8)])),
        png(np.dstack([MASK * np.uint8(255), np.full(MASK.shape, 255, np.uint8)])),
        png(Image.fromarray(MASK * np.uint8(255)).convert("P")),
        tiff(MASK),
        tiff(MASK, photometric="minisblack"),
        tiff(MASK.astype(np.float32)),
        tiff(MASK.astype(np.int64)),
    ],
)
def test_whatever_is_above_0_is_inside_a_mask(data):
    mask, _ = decode_mask(data, "a.png")
    np.testing.assert_array_equal(mask, MASK)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
@given(mask=strategies.masks())
def test_a_mask_is_the_same_in_every_mode(mode, mask):
    data = png(Image.fromarray(mask * np.uint8(255)).convert(mode))

    np.testing.assert_array_equal(decode_mask(data, "a.png")[0], mask)


LABELS = np.array([[0, 1, 1], [300, 0, 70000]])


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64", "uint64", "float32", "float64"])
def test_label_tiffs_of_every_depth_keep_their_numbers(dtype):
    np.testing.assert_array_equal(read_values(tiff(LABELS.astype(dtype)), "a.tif")[0], LABELS)


@pytest.mark.parametrize(
    "data",
    [
        png(np.array([[0, 5, 255]], np.uint8)),
        png(np.array([[0, 5, 255]], np.uint16)),
        tiff(np.array([[0, 5, 255]], np.uint16)),
        tiff(np.array([[0, 5, 255]], np.uint8), photometric="miniswhite"),
        tiff(np.array([[0, 5, 255]], np.uint16), photometric="miniswhite"),
        png(np.dstack([np.array([[0, 5, 255]], np.uint8)] * 3)),
    ],
)
def test_label_images_keep_the_stored_numbers(data):
    np.testing.assert_array_equal(read_values(data, "a.png")[0], [[0, 5, 255]])


def monstrous_png(side=30_000, bits=1, colours=0):
    """Build the header of a 1-bit PNG of 30,000 x 30,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, bits, colours, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


BAD = {
    "is empty": b"",
    r"is no image \(it begins with b'<!DOCTYPE ht'\)": b"<!DOCTYPE html><html></html>",
    "is damaged or truncated": png(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))[:800],
    "is too large": monstrous_png(),
    "holds 2 images": tiff(np.zeros((2, 5, 6), np.uint8), photometric="minisblack"),
    "has CMYK colours": encode(Image.new("CMYK", (3, 2)), "TIFF"),
}


@pytest.mark.parametrize("decode", [decode_image, decode_mask, read_values])
@pytest.mark.parametrize("match", BAD)
def test_what_cannot_be_decoded_is_named_with_the_reason(decode, match):
    with pytest.raises(DataError, match=rf"^a\.zip:x\.png {match}"):
        decode(BAD[match], "a.zip:x.png")


@pytest.mark.parametrize("data", [tiff(np.zeros((40, 40), np.uint8)), tiff(np.zeros((40, 40), np.int64))])
def test_the_limit_on_pixels_holds_for_every_decoder(data, monkeypatch):
    read_values(data, "x.tif")
    monkeypatch.setenv("KAGGLE_UNET_MAX_IMAGE_PIXELS", "1600")
    read_values(data, "x.tif")
    monkeypatch.setenv("KAGGLE_UNET_MAX_IMAGE_PIXELS", "1599")
    with pytest.raises(DataError, match=r"^x\.tif is too large"):
        read_values(data, "x.tif")


def test_pixels_that_are_no_picture_are_refused():
    with pytest.raises(DataError, match=r"^x\.tif holds complex64 of shape \(5, 6\); expected one image, gray or RGB"):
        read_values(tiff(np.zeros((5, 6), np.complex64)), "x.tif")
    with pytest.raises(DataError, match=r"^x\.tif has 5 channels; expected a mask or labels"):
        decode_mask(tiff(np.zeros((5, 6, 7), np.uint8), photometric="rgb"), "x.tif")


SOUND = (png(COLOUR), deep_png(DEEP_COLOUR), png(PALETTE), encode(COLOUR, "BMP"), encode(GRAY, "JPEG"), tiff(DEEP),
         tiff(DEEP_COLOUR, photometric="rgb"), tiff(MASK), tiff(LABELS.astype(np.int64)))  # fmt: skip


PLACES = st.integers(0, 400)


@example(data=SOUND[6], spots={106: 66}, end=None)  # strips of no rows
@example(data=SOUND[-1], spots={20: 2, 103: 48}, end=None)  # 12,289 samples in each of 262,150 pixels
@given(data=st.sampled_from(SOUND), spots=st.dictionaries(PLACES, st.integers(0, 255)), end=st.none() | PLACES)
@pytest.mark.parametrize("decode", [decode_image, decode_mask, shape_of])
def test_whatever_is_damaged_ends_in_a_picture_or_a_sentence(decode, data, spots, end):
    damaged = bytearray(data[:end])
    for spot, value in spots.items():
        if spot < len(damaged):
            damaged[spot] = value
    try:
        decode(bytes(damaged), "x.png")
        said = "x.png is a picture"
    except DataError as error:
        said = str(error)
    assert said.startswith("x.png ")


def test_several_images_of_64_bits_in_a_tiff_are_refused():
    with pytest.raises(DataError, match=r"^x\.tif holds 2 images; expected one"):
        read_values(tiff(np.zeros((2, 5, 6), np.int64), photometric="minisblack"), "x.tif")


def test_a_deep_png_that_opencv_cannot_decode_is_damaged(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(DataError, match=r"^x\.png is damaged or truncated \(OpenCV cannot decode it\)"):
        decode_image(deep_png(DEEP_COLOUR), "x.png")


def test_a_truncated_tiff_is_damaged():
    for data in (tiff(np.zeros((40, 40), np.uint8))[:300], tiff(np.zeros((40, 40), np.float64))[:300]):
        with pytest.raises(DataError, match=r"^x\.tif is damaged or truncated"):
            read_values(data, "x.tif")


@pytest.mark.parametrize(
    ("pixels", "dtype"),
    [
        (np.array([[33069, 36863]], np.uint16), np.uint16),
        (np.array([[0, 70_000]], np.uint32), np.float32),
        (np.array([[-5, 5]], np.int16), np.float32),
        (np.array([[0.1, 1e-30]], np.float32), np.float32),
        (np.array([[0.5, 1.25]], np.float16), np.float32),
        (np.array([[0.5, 1.25]], np.float64), np.float32),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_all_values_of_an_image_are_kept(pixels, dtype):
    image, _ = decode_image(tiff(pixels), "x.tif")
    np.testing.assert_array_equal(image, pixels)
    assert image.dtype == dtype


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (np.array([[0, np.nan, np.inf]], np.float32), "has 2 pixels that are NaN or infinite; replace them"),
        (np.array([[0, 2**24 + 1]], np.uint32), "values from 0 to 16777217, more than 32-bit floats can tell apart"),
        (np.array([[0, 1e300]], np.float64), r"values from 0\.0 to 1e\+300, more than"),
    ],
)
def test_images_whose_values_cannot_be_kept_are_refused(pixels, match):
    with pytest.raises(DataError, match=rf"^x\.tif .*{match}"):
        decode_image(tiff(pixels), "x.tif")


def test_the_shape_is_read_without_decoding():
    data = png(np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8))
    assert shape_of(data[:100], "a.png") == (40, 30)
    assert shape_of(tiff(np.zeros((4, 5))), "a.tif") == (4, 5)
    with pytest.raises(DataError, match="is too large"):
        shape_of(monstrous_png(), "a.png")


def test_kinds_are_told_apart_by_channels_and_mean():
    assert classify_kind(np.zeros((2, 2, 3), np.uint8)) == "colour"
    assert classify_kind(np.array([[127, 128]], np.uint8)) == "gray-bright"
    assert classify_kind(np.array([[127, 127]], np.uint8)) == "gray-dark"
    few_bright = np.array([[33069, 33070, 33071, 36863]])
    for dtype in (np.uint16, np.float32):
        assert classify_kind(few_bright.astype(dtype)) == "gray-dark"
        assert classify_kind((70000 - few_bright).astype(dtype)) == "gray-bright"
    assert classify_kind(np.zeros((2, 2, 5), np.uint8)) == "5 channels"


@pytest.mark.parametrize("write", [encode_png, encode_tiff])
def test_encoded_pixels_are_decoded_as_they_were(write):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (5, 7, 3), np.uint8)
    labels = rng.integers(0, 2**16, (5, 7), np.uint16)
    np.testing.assert_array_equal(decode_image(write(colours), "x")[0], colours)
    np.testing.assert_array_equal(read_values(write(labels), "x")[0], labels)


@pytest.mark.parametrize("pixels", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_gifs_and_webps_are_read(pixels, kind):
    data = encode(pixels, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode_image(data, "a")[0], pixels)
    np.testing.assert_array_equal(decode_mask(encode(MASK * np.uint8(255), kind, lossless=True), "a")[0], MASK)
    two = encode(pixels, kind, save_all=True, append_images=[Image.fromarray(255 - pixels)])
    with pytest.raises(DataError, match=r"^a holds 2 images"):
        decode_image(two, "a")


@pytest.mark.parametrize("decode", [decode_image, decode_mask, read_values])
def test_a_png_with_any_bit_flipped_or_cut_off_anywhere_is_an_error_or_the_same(decode):
    pixels = np.random.default_rng(3).integers(0, 2, (30, 40), np.uint8) * np.uint8(3)
    data = png(pixels)
    whole = decode(data, "a")
    for place in range(8, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), data[:place]):
            with pytest.raises(DataError, match=r"^a (is|has|holds) "):
                decode(damaged, "a")
    assert str(decode(data, "a")) == str(whole)


def test_an_image_of_16_bit_colours_goes_into_a_png_and_back_and_floats_do_not():
    np.testing.assert_array_equal(decode_image(encode_png(DEEP_COLOUR), "a")[0], DEEP_COLOUR)
    four = np.dstack([DEEP_COLOUR, DEEP])
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(encode_png(four), np.uint8), -1)[..., [2, 1, 0, 3]], four)
    with pytest.raises(ConfigError, match=r"a PNG holds no float32 of shape \(2, 3\); write TIFFs"):
        encode_png(GRAY.astype(np.float32))


def test_five_channels_and_floats_go_into_a_tiff_and_back():
    for pixels in (np.dstack([GRAY, GRAY.T.reshape(2, 3), GRAY, GRAY, GRAY]), GRAY.astype(np.float32) / 7):
        np.testing.assert_array_equal(decode_image(encode_tiff(pixels), "a")[0], pixels)


@pytest.mark.parametrize(("bits", "colours"), [(16, 6), (16, 2), (8, 6)])
def test_all_channels_and_bits_count_before_any_is_decoded(bits, colours):
    with pytest.raises(DataError, match=r"x\.png is too large \(13000 × 13000: .* set KAGGLE_UNET_MAX_IMAGE_BYTES="):
        decode_image(monstrous_png(13_000, bits, colours), "x.png")


def test_a_tiff_counts_by_all_of_its_channels(monkeypatch):
    data = tiff(np.zeros((5, 40, 40), np.float32), metadata={"axes": "CYX"}, photometric="minisblack")
    monkeypatch.setenv("KAGGLE_UNET_MAX_IMAGE_BYTES", "31999")
    with pytest.raises(DataError, match=r"40 × 40: 32,000 is above the limit"):
        decode_image(data, "x.tif")
    monkeypatch.setenv("KAGGLE_UNET_MAX_IMAGE_BYTES", "32000")
    decode_image(data, "x.tif")


@pytest.mark.parametrize("pixels", [np.full((40, 8), 9, np.uint8), np.full((40, 8, 3), 9, np.uint8)])
@pytest.mark.parametrize("decode", [decode_image, decode_mask, read_values])
def test_a_png_with_fewer_rows_than_it_declares_is_damaged(pixels, decode):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def build(n_rows):
        rows = b"".join(b"\0" + row.tobytes() for row in pixels[:n_rows])
        header = struct.pack(">IIBBBBB", 8, 40, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
        start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    decode(build(40), "x.png")
    with pytest.raises(DataError, match=r"x\.png is damaged or truncated"):
        decode(build(30), "x.png")


def soft_disc(background=0, inside=255, sigma=1.0, radius=20):
    y, x = np.mgrid[:64, :64]
    disc = (y - 30) ** 2 + (x - 33) ** 2 < radius**2
    return disc, cv2.GaussianBlur(np.where(disc, inside, background).astype(np.uint8), (0, 0), sigma)


def test_a_mask_with_soft_edges_is_cut_half_way_with_a_note():
    disc, soft = soft_disc()
    mask, notes = decode_mask(png(soft), "a.png")
    assert np.count_nonzero(mask != disc) < 20
    assert [note.kind for note in notes] == ["binary masks with soft edges"]
    fraction = soft.astype(np.float32) / 255
    fraction[0, 0] = np.nan
    mask, _ = decode_mask(tiff(fraction), "a.tif")
    assert np.count_nonzero(mask != disc) < 20
    alpha = np.dstack([np.zeros_like(soft)] * 3 + [soft])
    assert np.count_nonzero(decode_mask(png(alpha), "a.png")[0] != disc) < 20
    for radius in (3, 5, 11):  # small objects are half edge
        disc, soft = soft_disc(sigma=0.8, radius=radius)
        assert np.count_nonzero(decode_mask(png(soft), "a.png")[0] != disc) < 3 * radius
    few = np.where(disc, 255, 0).astype(np.uint8)
    few[28:32, 30:36] = 1
    assert (decode_mask(png(few), "a.png")[0] == disc).all()


def test_a_mask_without_clear_edges_or_background_is_refused():
    with pytest.raises(DataError, match=r"^a\.png has many values between 0 and .*no clear edge; save two values"):
        decode_mask(png(soft_disc(sigma=12, radius=4)[1] * np.uint8(20)), "a.png")
    _, soft = soft_disc(9, 209, 0.1)
    red_on_white = np.where(soft[..., None] > 100, np.uint8([255, 0, 0]), np.uint8([255, 255, 255]))
    for picture in (soft, red_on_white):
        with pytest.raises(DataError, match=r"^a\.png has no pixel of 0 or black, which is background"):
            decode_mask(png(picture), "a.png")
    assert decode_mask(png(np.full((4, 4), 255, np.uint8)), "a.png")[0].all()


def test_64_bit_floats_keep_their_levels_or_are_refused():
    levels = np.arange(75, dtype=np.float64).reshape(5, 15)
    with pytest.raises(DataError, match=r"more than 32-bit floats can tell apart"):
        decode_image(tiff(levels + 1e9), "a.tif")
    np.testing.assert_allclose(decode_image(tiff(levels / 7), "a.tif")[0], levels / 7, rtol=1e-6)
    assert (decode_image(tiff(np.full((4, 4), 0.1)), "a.tif")[0] == np.float32(0.1)).all()


def test_indices_of_a_gray_palette_are_kept_where_two_share_a_gray():
    picture = Image.fromarray(np.array([[0, 1, 2], [3, 3, 0]], np.uint8), "P")
    picture.putpalette([0, 0, 0, 90, 90, 90, 90, 90, 90, 200, 200, 200])
    assert read_values(png(picture), "a.png")[0].tolist() == [[0, 1, 2], [3, 3, 0]]
    picture.putpalette([0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0])
    assert read_values(png(picture), "a.png")[0].tolist() == [[0, 255, 255], [0, 0, 0]]
    picture.putpalette([0, 0, 0, 90, 90, 90, 91, 91, 91, 200, 200, 200])
    assert read_values(png(picture), "a.png")[0].tolist() == [[0, 90, 91], [200, 200, 0]]
