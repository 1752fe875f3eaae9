"""One reader fuzzed by atheris, which keeps what reaches new code: MADE READER SEED N ROWS."""

import shutil
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz; the row is written when as many inputs are read, or at one that is judged broken."""
    import atheris

    with atheris.instrument_imports(include=["kaggle_unet"]):
        from tests.soak.fuzz import PROMISE, fast_folder, freeze, judge, restrain
        from tests.soak.readers import READERS
        from tests.soak.row import Row, keep_row

    made, name, seed, n, kept = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="soak-guided-", dir=fast_folder()))
    shutil.copytree(made, folder / "made")
    reader = READERS[name](folder / "made")
    sound = [freeze(reader.read(one)) for one in reader.seeds]
    (folder / "corpus").mkdir()
    for number, one in enumerate(reader.seeds):
        (folder / "corpus" / str(number)).write_bytes(one)
    row = Row("fuzz", f"{name}, guided", PROMISE)

    def read(data: bytes) -> None:
        row.add(*judge(reader, sound, data, is_deep=False, number=row.n))
        if row.n == int(n):
            keep_row(Path(kept), row)
            shutil.rmtree(folder)

    restrain()
    atheris.Setup(
        [sys.argv[0], f"-runs={n}", f"-seed={seed}", "-rss_limit_mb=0", "-timeout=60", str(folder / "corpus")], read
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
