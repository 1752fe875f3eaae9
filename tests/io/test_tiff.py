"""TIFFs of every layout that other programs write: read right, or refused with the reason."""

import io

import cv2
import numpy as np
import pytest
import tifffile

from kaggle_unet.errors import DataError
from kaggle_unet.io.images import decode_image, decode_mask, read_shape
from kaggle_unet.io.label_images import read_values
from kaggle_unet.io.tiff import read_pixel_size
from tests.files import encode, png, tiff

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (48, 64), np.uint8)
COLOUR = RNG.integers(0, 256, (48, 64, 3), np.uint8)
FIVE = RNG.integers(0, 60000, (5, 48, 64), np.uint16)  # CYX
DEEP = FIVE[0]


def channels_last(planes):
    return np.moveaxis(planes, 0, -1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"bigtiff": True}, {"rowsperstrip": 5}, {"predictor": 2}])
@pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, DEEP, np.dstack([DEEP] * 2 + [DEEP.T[:48, :48].repeat(2, 1)[:, :64]])]
)
def test_every_compression_and_layout_gives_the_same_pixels(pixels, layout, compression):
    if compression in {None, "packbits", "lzma"}:
        layout = {key: value for key, value in layout.items() if key != "predictor"}
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    data = tiff(pixels, compression=compression, photometric=photometric, **layout)
    np.testing.assert_array_equal(decode_image(data, "a")[0], pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("pixels", [COLOUR, channels_last(FIVE[:3])])
def test_planes_of_colours_may_lie_apart(pixels, compression, planar):
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    data = tiff(stored, photometric="rgb", planarconfig=planar, compression=compression)
    np.testing.assert_array_equal(decode_image(data, "a")[0], pixels)


def test_jpeg_and_webp_in_a_tiff_are_read():
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    for pixels, compression in ((smooth, "jpeg"), (np.dstack([smooth] * 3), "webp")):
        data = tiff(pixels, compression=compression, photometric="rgb" if pixels.ndim == 3 else "minisblack")
        np.testing.assert_allclose(decode_image(data, "a")[0].astype(int), smooth, atol=6)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (tiff(FIVE, ome=True, metadata={"axes": "CYX", "Channel": {"Name": list("abcde")}}), list("abcde")),
        (tiff(FIVE[:, None], ome=True, metadata={"axes": "CZYX", "Channel": {"Name": list("abcde")}}), list("abcde")),
        (tiff(FIVE, imagej=True, metadata={"axes": "CYX", "Labels": list("abcde")}), list("abcde")),
        (tiff(channels_last(FIVE), photometric="minisblack", planarconfig="contig"), []),
        (tiff(FIVE, photometric="minisblack", planarconfig="separate"), []),
        (tiff(FIVE, metadata={"axes": "CYX"}, photometric="minisblack"), []),
    ],
    ids=["OME", "OME with one Z", "ImageJ", "samples", "planar", "shaped"],
)
def test_channels_are_read_whatever_axis_they_lie_on_and_chosen_by_number_or_name(data, names):
    image, _ = decode_image(data, "a")
    np.testing.assert_array_equal(image, channels_last(FIVE))
    assert read_shape(io.BytesIO(data), "a") == (48, 64)
    np.testing.assert_array_equal(decode_image(data, "a", 3)[0], FIVE[3])
    for number, name in enumerate(names):
        np.testing.assert_array_equal(decode_image(data, "a", name)[0], FIVE[number])
    with pytest.raises(DataError, match=r"^a has the channels 0, 1, 2, 3, 4.* not competition.channel 5; choose"):
        decode_image(data, "a", 5)
    with pytest.raises(DataError, match=r"^a has 5 channels; expected a mask or labels"):
        decode_mask(data, "a")


def test_a_colour_is_a_channel_too_and_a_gray_image_has_but_one():
    np.testing.assert_array_equal(decode_image(png(COLOUR), "a", "green")[0], COLOUR[..., 1])
    np.testing.assert_array_equal(decode_image(png(GRAY), "a", 0)[0], GRAY)
    with pytest.raises(DataError, match=r"^a has the channels 0, not competition.channel green"):
        decode_image(png(GRAY), "a", "green")


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR, DEEP])
def test_an_extra_sample_is_alpha_only_where_the_file_says_so(pixels, extra):
    stack = np.dstack([pixels, np.full_like(GRAY, 7)])
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    image, notes = decode_image(tiff(stack, photometric=photometric, planarconfig="contig", extrasamples=[extra]), "a")
    if extra:
        assert notes[0].kind == "transparent pixels"
        assert image.shape == pixels.shape
        if extra == 2:
            np.testing.assert_array_equal(image, pixels)
    else:
        np.testing.assert_array_equal(image, stack)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (tiff(FIVE, ome=True, metadata={"axes": "ZYX"}), r"is a 3-D stack of 5 planes \(ZYX\)"),
        (tiff(FIVE, imagej=True, metadata={"axes": "ZYX"}), r"is a 3-D stack of 5 planes \(ZYX\)"),
        (tiff(np.stack([FIVE, FIVE]), imagej=True, metadata={"axes": "ZCYX"}), r"is a 3-D stack of 2 planes \(ZCYX\)"),
        (tiff(FIVE, imagej=True, metadata={"axes": "TYX"}), "holds 5 images"),
        (tiff(FIVE, photometric="minisblack"), "holds 5 images"),
        (tiff(FIVE, photometric="minisblack", metadata={"axes": "CYX"})[:-9000], "damaged"),
        (tiff(FIVE, imagej=True, metadata={"axes": "CYX"})[:-9000], "lacks planes that its header names"),
        (encode(np.zeros((4, 4, 3), np.uint8), "TIFF", "CMYK"), "has CMYK colours"),
        (tiff(np.zeros((4, 4, 3), np.uint16), photometric="cielab", planarconfig="contig"), "has .*LAB colours"),
    ],
)  # fmt: skip
def test_what_is_not_one_plane_is_refused(data, match):
    for decode in (decode_image, read_values):
        with pytest.raises(DataError, match=rf"^a\.tif .*{match}"):
            decode(data, "a.tif")


def test_a_stack_with_one_directory_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FIVE, photometric="minisblack", metadata={"axes": "QYX", "truncated": True})
    with pytest.raises(DataError, match="holds 5 images"):
        decode_image((tmp_path / "a.tif").read_bytes(), "a.tif")


def test_a_codec_that_is_not_installed_is_named_with_its_line(monkeypatch):
    data = tiff(COLOUR.astype(np.uint16), compression="lzw", photometric="rgb")

    def decode(*_, **__):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", decode)
    with pytest.raises(DataError, match=r"^a.tif cannot be decoded .*pip install -e '.\[formats\]'"):
        decode_image(data, "a.tif")
    np.testing.assert_array_equal(decode_image(tiff(GRAY, compression="lzw"), "b.tif")[0], GRAY)


FLAT = np.zeros((4, 5), np.uint8)
OME = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(tiff(FLAT, ome=True, metadata=OME), (0.5, 0.25), id="OME, micrometres unless it says others"),
        pytest.param(
            tiff(FLAT, ome=True, metadata={**OME, "PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "mm"}),
            (500, 0.00025),
            id="OME in nanometres and millimetres",
        ),
        pytest.param(tiff(FLAT, ome=True, metadata={"axes": "YX"}), None, id="OME without sizes"),
        pytest.param(tiff(FLAT, ome=True, metadata={**OME, "PhysicalSizeXUnit": "pixel"}), None, id="OME in pixels"),
        pytest.param(tiff(FLAT, imagej=True, resolution=(4, 2), metadata={"unit": "um"}), (0.5, 0.25), id="ImageJ"),
        pytest.param(
            tiff(FLAT, imagej=True, resolution=(4, 4), metadata={"unit": "\\u00B5m"}), (0.25, 0.25), id="ImageJ's µ"
        ),
        pytest.param(tiff(FLAT, imagej=True, resolution=(4, 4), metadata={"unit": "inch"}), None, id="ImageJ, inch"),
        pytest.param(tiff(FLAT, imagej=True), None, id="ImageJ without a unit"),
        pytest.param(
            tiff(FLAT, resolution=(20000, 40000), resolutionunit="CENTIMETER", metadata=None), (0.25, 0.5), id="cm"
        ),
        pytest.param(tiff(FLAT, resolution=(72, 72), resolutionunit="INCH", metadata=None), None, id="72 dpi"),
        pytest.param(tiff(FLAT, resolution=(0, 0), resolutionunit="CENTIMETER", metadata=None), None, id="0 per cm"),
        pytest.param(tiff(FLAT, metadata=None), None, id="no resolution"),
        pytest.param(png(FLAT), None, id="PNG"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_a_size_is_read_where_the_file_has_one(data, expected):
    assert read_pixel_size(io.BytesIO(data)) == pytest.approx(expected)


def test_pages_in_a_circle_come_to_an_end():
    data = bytearray(tiff(np.zeros((32, 32), np.int32), metadata=None))
    n_tags = int.from_bytes(data[8:10], "little")
    for end in (10 + 12 * n_tags, 508):  # of the first page, and of one of 42 tags that begins at byte 2
        data[end : end + 4] = (2).to_bytes(4, "little")  # where the next page begins
    assert read_values(bytes(data), "x.tif")[0].shape == (32, 32)


def test_a_size_of_zero_is_none():
    data = tiff(np.zeros((4, 4), np.uint8), resolution=((77, 1), (77, 1)), resolutionunit="CENTIMETER", metadata=None)
    sound, zero = (np.array([77, below], "<u4").tobytes() for below in (1, 0))
    assert read_pixel_size(io.BytesIO(data)) is not None
    assert read_pixel_size(io.BytesIO(data.replace(sound, zero))) is None


@pytest.mark.parametrize(
    "data",
    [
        tiff(GRAY),
        tiff(GRAY, rowsperstrip=8),
        tiff(COLOUR, photometric="rgb", tile=(16, 16)),
        tiff(DEEP, compression="zlib"),
    ],
)
def test_a_size_that_needs_more_strips_or_tiles_than_there_are_is_refused(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.first.tags["ImageLength"].valueoffset
    with pytest.raises(DataError, match=r"a\.tif lacks some of the \d+ strips or tiles that its size needs"):
        decode_image(data[:place] + (96).to_bytes(2, "little") + data[place + 2 :], "a.tif")


def test_the_full_image_is_read_where_its_thumbnail_comes_first(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GRAY[:1, :2], subfiletype=1)
        file.write(GRAY)
    data = (tmp_path / "a.tif").read_bytes()
    np.testing.assert_array_equal(decode_image(data, "a.tif")[0], GRAY)
    np.testing.assert_array_equal(read_values(data, "a.tif")[0], GRAY)


def test_planes_that_the_xml_leaves_out_are_not_dropped(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", FIVE[:3], ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    data = (tmp_path / "a.ome.tif").read_bytes()
    assert data.count(b'SizeZ="3"') == 1
    with pytest.raises(DataError, match="holds 3 images"):
        decode_image(data.replace(b'SizeZ="3"', b'SizeZ="1"'), "a.ome.tif")


def test_a_thumbnail_that_the_xml_leaves_out_is_no_second_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(GRAY, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        xml = file.ome_metadata
    with tifffile.TiffWriter(tmp_path / "b.ome.tif", ome=False) as file:
        file.write(GRAY, photometric="minisblack", description=xml, metadata=None)
        file.write(GRAY[:1, :2], photometric="minisblack", subfiletype=1, metadata=None)
    data = (tmp_path / "b.ome.tif").read_bytes()
    assert tifffile.TiffFile(io.BytesIO(data)).is_ome
    np.testing.assert_array_equal(decode_image(data, "b.ome.tif")[0], GRAY)


def test_four_samples_are_channels_unless_the_file_calls_one_alpha():
    four = np.dstack([COLOUR, GRAY])
    untagged = cv2.imencode(".tif", four)[1].tobytes()  # OpenCV writes no tag for the fourth
    assert decode_image(untagged, "a.tif")[0].shape == four.shape
    np.testing.assert_array_equal(decode_image(untagged, "a.tif", 3)[0], GRAY)
    opaque = np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, 255)])
    np.testing.assert_array_equal(read_values(cv2.imencode(".tif", opaque)[1].tobytes(), "a.tif")[0], GRAY)
    tagged = tiff(four, photometric="rgb", extrasamples=[2])
    np.testing.assert_array_equal(decode_image(tagged, "a.tif")[0], COLOUR)
    np.testing.assert_array_equal(decode_image(tagged, "a.tif", 3)[0], GRAY)
    np.testing.assert_array_equal(decode_image(tagged, "a.tif", "green")[0], COLOUR[..., 1])


def test_packed_bits_where_0_is_white_are_turned_within_their_bits():
    values = np.array([[0, 1, 100], [4000, 4095, 7]], np.uint16)
    packed = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(2, 3, 16)[..., 4:].reshape(2, -1)
    rows = np.packbits(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))), axis=1).tobytes()
    data = tiff(values, photometric="miniswhite", metadata=None)
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    image = bytearray(data)
    offset, bits = page.dataoffsets[0], page.tags["BitsPerSample"]
    image[bits.valueoffset : bits.valueoffset + 2] = (12).to_bytes(2, "little")
    image[offset : offset + len(rows)] = rows
    counts = page.tags["StripByteCounts"]
    image[counts.valueoffset : counts.valueoffset + 4] = len(rows).to_bytes(4, "little")
    np.testing.assert_array_equal(decode_image(bytes(image), "a.tif")[0], 4095 - values)
