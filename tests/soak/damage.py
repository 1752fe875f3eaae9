"""Seeded damage to bytes, and the repair of checksums, without which damage goes no deeper than their check."""

import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = (
    b"", b"0", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'"', b"\r", b"\0", b"\xff\xfe", b"9" * 400, b"[" * 3000,
    b"0x7f", b"0b_", b"2026-11-28", b"../../x", b"*a", b"&a [*a]", b"!!python/object:os.system", "ü".encode(), b"true",
)  # fmt: skip


def damage(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Damage bytes in one to four places."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.3:  # headers decide more than pixels
            at = min(at, rng.randrange(64))
        data = rng.choice(_WAYS)(data, at, rng, others)
    return data


def _flip(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if at < len(data) else data


def _set(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    form = rng.choice("BbHI") if rng.random() < 0.5 else rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    number = (rng.choice(NUMBERS) if rng.random() < 0.7 else rng.getrandbits(32)) % 2 ** (8 * size)
    return data[:at] + number.to_bytes(size, "big" if ">" in form else "little") + data[at + size :]


def _cut(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[:at] + data[at + rng.choice((1, 4, 16, 256, len(data))) :]


def _double(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: at + rng.choice((1, 8, 64, 1024))] + data[at:]


def _insert(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[:at] + (rng.choice(WORDS) if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, 9))) + data[at:]


def _splice(data: bytes, at: int, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[:at] + other[rng.randrange(len(other) + 1) :]


def _reword(data: bytes, at: int, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """Replace a word or a number of a text."""
    tokens = list(re.finditer(rb"[\w.+-]+", data[at : at + 4096]))
    if not tokens:
        return data
    token = rng.choice(tokens)
    word = rng.choice(WORDS) if rng.random() < 0.6 else str(rng.choice(NUMBERS)).encode()
    return data[: at + token.start()] + word + data[at + token.end() :]


_WAYS: tuple[Callable[[bytes, int, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _set, _set, _cut, _double, _insert, _splice, _reword, _reword,
)  # fmt: skip


def repair_png(data: bytes) -> bytes:
    """Make the checksums of a PNG's chunks right."""
    fixed, start = bytearray(data), 8
    while start + 12 <= len(fixed):
        end = start + 8 + int.from_bytes(fixed[start : start + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    return bytes(fixed)


def damage_zip(data: bytes, rng: random.Random) -> bytes:
    """Damage the contents of a zip's files, and pack them with right checksums."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(sorted(files))
    files[victim] = damage(files[victim], rng, list(files.values()))
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
