"""What is installed and what is shipped: pinned versions with hashes, and a wheel that depends on the sources alone."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def pins(text):
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", text, flags=re.MULTILINE))


def test_the_lock_has_the_tested_versions_with_hashes_and_names_no_index(repository):
    text = (repository / "requirements.lock").read_text(encoding="utf-8")
    locked, tested = pins(text), pins((repository / "constraints.txt").read_text(encoding="utf-8"))
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
    assert re.findall(r"https?:|file:|--(?:extra-)?index|--find-links", text) == []
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) >= len(locked) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_covers_what_the_package_and_its_tests_need(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [
        *project["dependencies"],
        *(line for extra in ("track", "tune", "formats", "test") for line in extras[extra]),
    ]
    wanted = {re.split(r"[\s<>=!\[;]", line)[0].lower() for line in lines} - {"kaggle-unet"}
    locked = pins((repository / "requirements.lock").read_text(encoding="utf-8"))
    assert {name for name in wanted if name not in locked} == set()


def test_a_wheel_built_twice_is_the_same_and_holds_what_git_does(repository, tmp_path):
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=repository
    ).stdout
    names = [name for name in listed.split("\0") if name.startswith("kaggle_unet/")]
    wheels = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        for name in (*names, "pyproject.toml", "README.md", "LICENSE"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, folder / name)
        subprocess.run(
            [sys.executable, "-c", BUILD, "dist"],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1500000000"},
            check=True,
            capture_output=True,
        )
        wheels += (folder / "dist").glob("*.whl")
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert sorted(held) == sorted(names)
