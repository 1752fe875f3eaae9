"""Archives: one set of files, however it is packed."""

import os
import pickle
import stat
import zipfile
from pathlib import Path

import pytest

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import LIMITS, FolderArchive, open_archive
from tests.files import write_folder, write_zip, zipped

FILES = {"images/b.png": b"bb", "images/a.png": b"a", "masks/a.png": b"m"}
NAMES = ("images/a.png", "images/b.png", "masks/a.png")


ON_TOP = {f"x/train/{name}": data for name, data in FILES.items()}
WAYS = {
    "zip": lambda path: write_zip(path / "train.zip", FILES),
    "folder": lambda path: write_folder(path / "train", FILES),
    "folder with folders on top": lambda path: write_folder(path / "all", ON_TOP) + ":x/train",
    "zip with folders on top": lambda path: write_zip(path / "all.zip", ON_TOP) + ":x/train/",
    "outer zip": lambda path: write_zip(path / "outer.zip", {"sub/train.zip": zipped(FILES)}) + ":train.zip",
    "place in an inner zip": lambda path: write_zip(path / "o.zip", {"t.zip": zipped(ON_TOP)}) + ":t.zip:x/train",
    "folder of zips": lambda path: write_folder(path / "input", {"train.zip": zipped(FILES)}) + ":train.zip",
    "zip with a colon in its name": lambda path: write_zip(path / "12:30.zip", FILES),
}


def pack(kind, path):
    """Pack FILES in one of the ways people have them, and say what they type."""
    return WAYS[kind](path)


@pytest.mark.parametrize("kind", WAYS)
def test_files_are_the_same_however_they_are_packed(kind, tmp_path):
    archive = open_archive(pack(kind, tmp_path))
    assert archive.names == NAMES
    assert [archive.read(name) for name in NAMES] == [b"a", b"bb", b"m"]
    assert archive.fingerprint() == open_archive(write_zip(tmp_path / "plain.zip", FILES)).fingerprint()


@pytest.mark.parametrize("kind", WAYS)
def test_an_archive_survives_pickling(kind, tmp_path):
    archive = open_archive(pack(kind, tmp_path))
    archive.read(NAMES[0])
    copy = pickle.loads(pickle.dumps(archive))
    assert copy.read(NAMES[1]) == b"bb"
    assert copy.names == NAMES


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_and_its_parent_read_at_once(tmp_path):
    files = {f"{i}.bin": bytes([i]) * 50_000 for i in range(200)}
    archive = open_archive(write_zip(tmp_path / "a.zip", files))
    archive.read("0.bin")

    def reads_right():
        return all(archive.read(name) == data for name, data in files.items())

    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(not reads_right())
        finally:
            os._exit(code)

    assert reads_right()
    assert os.waitpid(child, 0)[1] == 0


def count_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files")
def test_copies_in_one_process_share_the_opened_zip(tmp_path):
    archive = open_archive(write_zip(tmp_path / "a.zip", FILES))
    archive.read(NAMES[0])
    n_open = count_open_files()

    copies = [pickle.loads(pickle.dumps(archive)) for _ in range(5)]

    assert [copy.read(NAMES[1]) for copy in copies] == [b"bb"] * 5
    assert count_open_files() == n_open
    assert len(pickle.dumps(archive)) < 1000


def test_a_zip_that_changes_on_disk_is_opened_anew(tmp_path):
    archive = open_archive(write_zip(tmp_path / "a.zip", FILES))
    write_zip(tmp_path / "a.zip", FILES | {"images/a.png": b"another"})
    assert archive.read("images/a.png") == b"another"


def test_a_changed_byte_changes_the_fingerprint(tmp_path):
    folder = write_folder(tmp_path / "train", FILES)
    before = open_archive(folder).fingerprint()
    (tmp_path / "train" / "masks" / "a.png").write_bytes(b"n")
    assert open_archive(folder).fingerprint() != before


def test_the_fingerprint_of_some_files_ignores_the_others(tmp_path):
    one = open_archive(write_zip(tmp_path / "a.zip", FILES))
    other = open_archive(write_zip(tmp_path / "b.zip", FILES | {"readme.txt": b"hello"}))
    assert one.fingerprint(NAMES) == other.fingerprint(NAMES)
    assert one.fingerprint() != other.fingerprint()


def test_junk_of_operating_systems_is_not_listed(tmp_path):
    junk = {"__MACOSX/images/._a.png": b"x", "images/.DS_Store": b"x", "images/Thumbs.db": b"x", ".git/x": b"x"}
    for data in (write_zip(tmp_path / "a.zip", FILES | junk), write_folder(tmp_path / "a", FILES | junk)):
        assert open_archive(data).names == NAMES


class OfMacOs(zipfile.ZipInfo):
    """An entry whose name is UTF-8 without the flag that says so."""

    def _encodeFilenameFlags(self):
        return self.filename.encode(), self.flag_bits


@pytest.mark.parametrize("kind", [OfMacOs, zipfile.ZipInfo])
def test_names_in_utf_8_are_read_with_their_flag_or_without_it(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(kind("Zelle-ü.png"), b"u")
    archive = open_archive(tmp_path / "a.zip")
    assert (archive.names, archive.read("Zelle-ü.png")) == (("Zelle-ü.png",), b"u")


def test_names_of_old_windows_are_read_as_before(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"Zelle-?.png": b"u"}).replace(b"?", b"\x81"))
    archive = open_archive(tmp_path / "a.zip")
    assert (archive.names, archive.read("Zelle-ü.png")) == (("Zelle-ü.png",), b"u")


def test_names_with_backslashes_or_a_leading_dot_are_read(tmp_path):
    archive = open_archive(write_zip(tmp_path / "a.zip", {"./": b"", "images\\a.png": b"a", "./masks/a.png": b"m"}))
    assert archive.names == ("images/a.png", "masks/a.png")
    assert archive.read("images/a.png") == b"a"


def test_links_between_folders_are_followed_once(tmp_path):
    folder = write_folder(tmp_path / "real", FILES)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "link").symlink_to(folder)
    assert open_archive(tmp_path / "link").names == NAMES


def test_messages_say_where_a_file_lies(tmp_path):
    assert open_archive(pack("zip", tmp_path)).where("images/a.png") == f"{tmp_path}/train.zip:images/a.png"
    assert open_archive(pack("outer zip", tmp_path)).where("x") == f"{tmp_path}/outer.zip:sub/train.zip:x"
    assert open_archive(pack("folder", tmp_path)).where("x") == f"{tmp_path}/train/x"


def test_a_path_that_is_too_long_does_not_exist():
    with pytest.raises(DataError, match="no such file or folder: xxx"):
        open_archive("x" * 5000)


def test_a_zip_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    data = write_zip(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(DataError, match=r"a\.zip can't be read \(Permission denied\)"):
        open_archive(data)


def test_an_empty_zip_says_so(tmp_path):
    with pytest.raises(DataError, match="it holds no files"):
        open_archive(write_zip(tmp_path / "a.zip", {}) + ":train")


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder: .*/nothing\.zip:place"):
        open_archive(f"{tmp_path}/nothing.zip:place")


@pytest.mark.parametrize("data", [b"", b"<html>", zipped(FILES)[:-30]], ids=["empty", "html", "cut off"])
def test_what_is_no_zip_is_named(tmp_path, data):
    (tmp_path / "train.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"train\.zip is no zip, or a damaged one.*download the zip again"):
        open_archive(tmp_path / "train.zip")


def test_an_inner_zip_that_is_none_is_named(tmp_path):
    data = write_zip(tmp_path / "outer.zip", {"train.zip": b"<html>"})
    with pytest.raises(
        DataError, match=r"outer\.zip:train\.zip is no zip, or a damaged one \(File is not a zip file\)"
    ):
        open_archive(data + ":train.zip")


def test_a_place_that_is_not_there_lists_what_is(tmp_path):
    with pytest.raises(DataError, match=r"neither a folder nor a zip 'test'; it holds: images/, masks/"):
        open_archive(write_zip(tmp_path / "a.zip", FILES) + ":test")


def test_two_inner_zips_of_one_name_are_both_named(tmp_path):
    data = write_zip(tmp_path / "outer.zip", {"a/t.zip": zipped(FILES), "b/t.zip": zipped(FILES)})
    with pytest.raises(DataError, match=r"2 files called 't\.zip'") as caught:
        open_archive(data).find("t.zip")
    assert caught.value.problems == (f"{data}:a/t.zip", f"{data}:b/t.zip")


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/passwd", "C:/evil.png", "..\\evil.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="not safe") as caught:
        open_archive(write_zip(tmp_path / "a.zip", FILES | {name: b"x"}))
    assert repr(name) in caught.value.problems[0]


def test_symbolic_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("images/c.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'images/c\.png' is a symbolic link"):
        open_archive(tmp_path / "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.png", b"1")
        archive.writestr("images/a.png", b"2")
    with pytest.raises(DataError, match=r"'images/a\.png' occurs twice"):
        open_archive(tmp_path / "a.zip")


def declare(path, sizes):
    """Write a zip whose files hold a byte, but declare sizes."""
    with zipfile.ZipFile(path, "w") as archive:
        for info, n_bytes in [(archive.writestr(name, b"x") or archive.infolist()[-1], n) for name, n in sizes.items()]:
            info.file_size = n_bytes
    return path


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"a.png": 2**29 + 1}, r"'a\.png' would unpack to too many bytes: 536,870,913 is above the limit"),
        ({"a.zip": 2**27 + 1}, r"'a\.zip' would unpack to too many bytes: 134,217,729 is above the limit"),
        (
            dict.fromkeys(("a", "b", "c"), 2**29),
            "it would unpack 3 to 1,610,612,736 bytes: .*KAGGLE_UNET_MAX_ZIP_RATIO=",
        ),
    ],
)
def test_zip_bombs_are_refused_by_what_they_declare(tmp_path, sizes, match):
    with pytest.raises(DataError, match=match):
        open_archive(declare(tmp_path / "a.zip", sizes))


def test_a_file_as_large_as_data_may_be_is_listed_and_a_limit_can_be_raised(tmp_path, monkeypatch):
    assert open_archive(declare(tmp_path / "a.zip", {"a.png": 2**29})).names == ("a.png",)
    monkeypatch.setenv("KAGGLE_UNET_MAX_FILE_BYTES", str(2**29 + 1))
    assert open_archive(declare(tmp_path / "b.zip", {"a.png": 2**29 + 1})).names == ("a.png",)
    monkeypatch.setenv("KAGGLE_UNET_MAX_FILE_BYTES", "1 GB")
    with pytest.raises(ConfigError, match="KAGGLE_UNET_MAX_FILE_BYTES is '1 GB'; expected a whole number"):
        open_archive(declare(tmp_path / "c.zip", {"a.png": 2}))


def test_zips_in_zips_end_somewhere(tmp_path):
    data = zipped({"a.png": b"x"})
    for _ in range(4):
        data = zipped({"a.zip": data})
    (tmp_path / "a.zip").write_bytes(data)
    archive = open_archive(f"{tmp_path / 'a.zip'}:a.zip/a.zip/a.zip")
    with pytest.raises(DataError, match="lies in too many zips: 4 is above the limit of 3"):
        archive.find("a.zip")


@pytest.mark.parametrize("version", [84, 201])
def test_a_zip_of_an_unknown_version_is_named(tmp_path, version):
    data = bytearray(zipped(FILES))
    data[data.index(b"PK\1\2") + 6] = version
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip is damaged \(NotImplementedError: zip file version"):
        open_archive(tmp_path / "a.zip")


def test_an_entry_without_a_name_is_refused(tmp_path):
    data = zipped({"a": b"x"})
    place = data.index(b"PK\1\2")
    directory = data[place : data.index(b"PK\5\6")]
    nameless = directory[:28] + b"\0\0" + directory[30:46]
    (tmp_path / "a.zip").write_bytes(data[:place] + nameless + data[data.index(b"PK\5\6") :])
    with pytest.raises(DataError, match=r"a\.zip is no zip, or a damaged one"):
        open_archive(tmp_path / "a.zip")


def test_a_damaged_member_is_named_when_it_is_read(tmp_path):
    data = bytearray(zipped({"images/a.png": bytes(range(200))}))
    data[60] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip:images/a\.png is damaged .*download the zip again"):
        open_archive(tmp_path / "a.zip").read("images/a.png")


def test_an_encrypted_member_is_named_when_it_is_read(tmp_path):
    data = bytearray(zipped({"images/a.png": b"secret"}))
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        open_archive(tmp_path / "a.zip").read("images/a.png")


def test_a_member_that_is_not_there_is_named(tmp_path):
    for kind in ("zip", "folder"):
        with pytest.raises(DataError, match=r"images/z\.png"):
            open_archive(pack(kind, tmp_path)).read("images/z.png")


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("inside", "a.zip"),
        ("outer", "a.zip:t.zip"),
        ("disk", "t.zip"),
        ("zipped on disk", "t.zip"),
        ("up", "d:train"),
        ("up", "d/train"),
    ],
)
def test_a_table_is_found_inside_round_or_beside_the_images(tmp_path, kind, typed):
    if kind == "inside":
        write_zip(tmp_path / "a.zip", FILES | {"tables/depths.csv": b"z"})
    elif kind == "outer":
        write_zip(tmp_path / "a.zip", {"t.zip": zipped(FILES), "depths.csv": b"z"})
    elif kind == "up":
        write_folder(tmp_path / "d", {"train/images/a.png": b"a", "depths.csv": b"z"})
    else:
        write_zip(tmp_path / "t.zip", FILES)
        if kind == "disk":
            (tmp_path / "depths.csv").write_bytes(b"z")
        else:
            write_zip(tmp_path / "depths.csv.zip", {"depths.csv": b"z"})
    place, name = open_archive(tmp_path / typed).beside("depths.csv")
    assert place.read(name) == b"z"


def test_the_nearest_table_is_taken(tmp_path):
    data = write_zip(tmp_path / "a.zip", FILES | {"depths.csv": b"near"})
    (tmp_path / "depths.csv").write_bytes(b"far")
    place, name = open_archive(data).beside("depths.csv")
    assert place.read(name) == b"near"
    assert open_archive(data).beside("train.csv") is None


def test_of_two_tables_in_an_archive_the_one_in_fewer_folders_is_taken(tmp_path):
    data = write_zip(tmp_path / "a.zip", FILES | {"a/old/depths.csv": b"deep", "z/depths.csv": b"flat"})
    place, name = open_archive(data).beside("depths.csv")
    assert place.read(name) == b"flat"


def test_a_table_in_a_folder_beside_is_not_taken(tmp_path):
    data = write_zip(tmp_path / "a.zip", FILES)
    write_folder(tmp_path, {"other/depths.csv": b"z"})
    assert open_archive(data).beside("depths.csv") is None


def test_a_folder_that_cannot_be_listed_is_an_error_never_empty(tmp_path, monkeypatch):
    files = {"images/a.png": b"a", "masks/a.png": b"b"}
    write_folder(tmp_path, files)
    real = os.scandir

    def scan(path):
        if str(path).endswith("masks"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(DataError, match=r"^cannot list .*masks: Permission denied; it may hold data"):
        _ = open_archive(tmp_path).names
    assert FolderArchive(tmp_path, depth=0).names == ()


@pytest.mark.parametrize("inner", [False, True])
def test_an_encrypted_zip_is_said_to_be_encrypted(inner, tmp_path):
    data = bytearray(zipped({"images/a.png": b"a"}))
    for start in (b"PK\3\4", b"PK\1\2"):
        data[data.index(start) + (6 if start == b"PK\3\4" else 8)] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"b.zip": bytes(data)}) if inner else data)
    with pytest.raises(DataError, match=r"is encrypted; unpack it with its password"):
        open_archive(f"{path}:b.zip" if inner else path)


def test_a_zip_that_lists_fewer_files_than_it_declares_is_damaged(tmp_path):
    data = bytearray(zipped({f"images/{i}.png": b"a" for i in range(9)}))
    first = data.index(b"PK\1\2")
    # The first entry's comment swallows the two that follow.
    data[first + 32 : first + 34] = (2 * (data.index(b"PK\1\2", first + 1) - first)).to_bytes(2, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="lists 7 files of 9: it is damaged"):
        open_archive(tmp_path / "a.zip")


def test_a_name_with_a_nul_which_would_end_there_is_damaged(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped({"images/a.png": b"a"}).replace(b"images/a.png", b"images/\0.png"))
    with pytest.raises(DataError, match=r"x\.zip has the name .images/.x00\.png.: it is damaged"):
        list(open_archive(tmp_path / "x.zip").names)


def test_the_docs_list_every_limit(repository):
    page = (repository / "docs" / "files.md").read_text()
    assert [name for name in LIMITS if f"`KAGGLE_UNET_MAX_{name}`" not in page] == []


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08\0rest", b"Rar!\x1a\x07\x01\0", b"7z\xbc\xaf\x27\x1c"])
def test_archives_of_other_kinds_are_to_be_unpacked(tmp_path, data):
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar\.gz is no zip.*unpack archives of other kinds, and pass the folder"):
        open_archive(tmp_path / "a.tar.gz")


def test_a_method_that_zipfile_lacks_is_no_damage(tmp_path):
    data = zipped({"a.txt": b"a" * 100}).replace(b"\x08\x00", b"\x09\x00")  # Deflate64
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip is compressed in a way that can't be read; unpack it"):
        open_archive(tmp_path / "a.zip")
