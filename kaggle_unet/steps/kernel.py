"""`kernel`: a run as a Kaggle dataset, and a notebook that writes its submission from it without internet.

The dataset has checkpoints, the config with its decoding, and wheels of the kit and of what Kaggle's image lacks. The
wheels are installed without dependencies, which are resolved here instead, against a list of what the image has.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import PathDistribution, distribution, distributions
from pathlib import Path
from string import Template
from typing import NamedTuple
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from kaggle_unet.config import Config, to_yaml
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.models.checkpoint import Checkpoint
from kaggle_unet.models.settings import EXPORTED
from kaggle_unet.steps.build import load_ensemble
from kaggle_unet.steps.check import SLUGS
from kaggle_unet.steps.run import checkpoint_run
from kaggle_unet.steps.second_level import NONE, SecondLevel, choose_decoder
from kaggle_unet.store.atomic import lock_file

TEST_FILES = {"dsb2018": "stage1_test.zip", "tgs": "test.zip"}
_TEMPLATES = Path(__file__).parent / "kaggle"
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
# Gigabytes in size, or what the image's other packages are compiled for.
_NOT_PACKED = ("python", "torch", "torchvision", "numpy")
_PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)), "manylinux2014_x86_64")
_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}


class Kernel(NamedTuple):
    """What was written: its name on Kaggle, the competition, the packed wheels, and remarks for the user."""

    name: str
    competition: str
    wheels: list[str]
    remarks: list[str]


def write_kernel(  # noqa: PLR0913  the options of a verb
    config: Config,
    checkpoints: Sequence[Path],
    output: Path,
    *,
    owner: str,
    image: Path | None,
    decode: str | None,
    second_level: str | None,
    overrides: Sequence[str],
) -> Kernel:
    """Write the folders `dataset` and `notebook`, for Kaggle's own client to upload."""
    if not (competition := SLUGS[config.competition.name]):
        raise ConfigError("kernel: a folder of images is no competition on Kaggle; give --competition dsb2018 or tgs")
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ConfigError(f"-o {output}: is there already; remove it, or give another folder")
    ensemble = load_ensemble(checkpoints, config)
    loaded = ensemble.checkpoints
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, second_level=second_level, overrides=overrides)
    second = chosen.decode.folder if isinstance(chosen.decode, SecondLevel) else None
    extras = ["onnx"] * any(file.suffix == EXPORTED for file in loaded) + ["second-level"] * bool(second)
    title = " ".join(("kaggle unet", *checkpoint_run(next(iter(loaded))).parts[-2:])).removesuffix(EXPORTED)
    slug = re.sub("[^a-z0-9]+", "-", title.lower())[:50].strip("-")
    folder = output.with_name(f".{output.name[:80]}.tmp")
    dataset = folder / "dataset"
    with lock_file(output), ExitStack() as at_end:
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed call
        at_end.callback(shutil.rmtree, folder, ignore_errors=True)
        wheels, remarks = pack_missing(dataset / "wheels", extras, image or _TEMPLATES.with_name("kaggle_image.txt"))
        wheels.append(pack_kit(dataset / "wheels").name)
        names = _copy_checkpoints(loaded, dataset / "checkpoints")
        (dataset / "config.yaml").write_text(to_yaml(chosen.config), encoding="utf-8")
        if second:
            shutil.copytree(second, dataset / "second_level", ignore=shutil.ignore_patterns(".*"))
        _fill_in_templates(
            folder,
            owner=owner,
            slug=slug,
            title=slug.replace("-", " "),  # from which Kaggle makes the slug
            competition=competition,
            data=TEST_FILES[config.competition.name],
            checkpoints=json.dumps(names),
            second_level='str(KIT / "second_level")' if second else f'"{NONE}"',
        )
        folder.replace(output)
    return Kernel(f"{owner}/{slug}", competition, wheels, [*chosen.remarks, *remarks])


def _copy_checkpoints(checkpoints: Mapping[Path, Checkpoint], folder: Path) -> list[str]:
    """Copy checkpoints, each with its hash, under the names that a manifest gives them."""
    names: list[str] = []
    for file, checkpoint in checkpoints.items():
        if str(checkpoint["config"]["model"]["name"]).startswith("python:"):
            raise ConfigError(f"{file}: this network is code of your own; export the run, and give the exported file")
        name = Path(*file.absolute().parts[-1 if file.suffix == EXPORTED else -3 :])
        name = Path(str(len(names)), name) if name.as_posix() in names else name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", ".sha256"):
            shutil.copyfile(f"{file}{suffix}", f"{folder / name}{suffix}")
        names.append(name.as_posix())
    return names


def _fill_in_templates(folder: Path, **values: str) -> None:
    """Write the notebook, and what Kaggle's client needs to know about it and the dataset."""
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    for name in ("dataset/dataset-metadata.json", "notebook/kernel-metadata.json", "notebook/submission.ipynb"):
        text = Template((_TEMPLATES / name).read_text(encoding="utf-8")).substitute(escaped)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def read_image(path: Path) -> dict[str, str]:
    """Read the versions of packages and of Python from the output of `python -V; pip freeze`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--image {path}: can't be read ({error}); give what pip freeze has printed") from error
    found = re.findall(r"^([\w.-]+)(?:==| @ \S*/[^/-]+-)([^\s/-]+)", text, flags=re.MULTILINE)  # or a wheel's URL
    found += re.findall(r"^(Python) (3\.\d+)", text, flags=re.MULTILINE)
    versions: dict[str, str] = {canonicalize_name(name): unquote(version) for name, version in found}
    if len(versions) < 2 or "python" not in versions:
        msg = f"--image {path}: expected lines such as numpy==2.0.2, and one with the version of Python; print them in "
        raise ConfigError(f"{msg}a notebook on Kaggle with: !(python -V; pip freeze) > kaggle-image.txt")
    return versions


def pack_missing(folder: Path, extras: Iterable[str], image: Path) -> tuple[list[str], list[str]]:
    """Download what an image lacks for the kit, with dependencies; return the files, and what they replace."""
    versions = read_image(image)
    wanted: dict[str, SpecifierSet] = {}
    packed: dict[str, Path] = {}
    folder.mkdir(parents=True)
    waiting = deque(_for_kaggle(_kit_requirements(), extras, versions["python"]))
    while waiting:
        one = waiting.popleft()
        name = canonicalize_name(one.name)
        wanted[name] = specifier = wanted.get(name, SpecifierSet()) & one.specifier
        names = _OPENCV if name in _OPENCV else (name,)  # all provide the same module
        found = [versions[other] for other in names if other in versions]
        found = [packed[name].name.split("-")[1]] if name in packed else found
        if any(specifier.contains(version, prereleases=True) for version in found):
            continue
        if name in _NOT_PACKED or (name in _OPENCV and found):
            has = f"{name} {found[0]}" if found else f"no {name}"
            msg = f"--image {image}: has {has}; {name}{specifier} is needed and can't be packed: choose the newest "
            raise ConfigError(f"{msg}environment in the settings of Kaggle's notebook, and give its list with --image")
        if name in packed:  # another package wants another version
            packed[name].unlink()
        packed[name] = _download(folder, name, specifier, versions["python"])
        inside = zipfile.Path(packed[name], f"{'-'.join(packed[name].name.split('-')[:2])}.dist-info/")
        waiting += _for_kaggle(PathDistribution(inside).requires or (), one.extras, versions["python"])
    old = {name: versions[name] for name in packed if name in versions}
    replaced = [f"{name} {old[name]} of Kaggle's image is too old; {packed[name].name} replaces it" for name in old]
    return sorted(wheel.name for wheel in packed.values()), replaced


def _find_checkout() -> Path | None:
    """Return the folder with the kit's pyproject.toml, which may be newer than the installation; None without one."""
    file = Path(__file__).parents[2] / "pyproject.toml"
    return file.parent if file.is_file() and 'name = "kaggle-unet"' in file.read_text(encoding="utf-8") else None


def _kit_requirements() -> list[str]:
    """List what the kit requires, Python first."""
    if (checkout := _find_checkout()) is None:
        kit = distribution("kaggle-unet")
        return [f"python{kit.metadata['Requires-Python']}", *(kit.requires or ())]
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    more = (f"{line}; extra == '{extra}'" for extra, lines in extras for line in lines)
    return [f"python{project['requires-python']}", *project["dependencies"], *more]


def _for_kaggle(requirements: Iterable[str], extras: Iterable[str], python: str) -> list[Requirement]:
    on_kaggle = {**_LINUX, "python_version": python, "python_full_version": f"{python}.0"}
    places = [{**on_kaggle, "extra": extra} for extra in ("", *extras)]
    return [one for one in map(Requirement, requirements) if not one.marker or any(map(one.marker.evaluate, places))]


def _download(folder: Path, name: str, specifier: SpecifierSet, python: str) -> Path:
    """Download a package as a wheel for Kaggle: the version that is installed here, or else the newest."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
    pip += [str(folder), "--python-version", python, *(word for one in _PLATFORMS for word in ("--platform", one))]
    here = [one.version for one in distributions() if canonicalize_name(one.name) == name]
    for choice in (*(f"{name}=={version}" for version in specifier.filter(here)), f"{name}{specifier}"):
        done = subprocess.run([*pip, choice], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return next(file for file in folder.iterdir() if canonicalize_name(file.name.split("-")[0]) == name)
    said = (done.stderr.strip().splitlines() or [""])[-1]
    msg = f"kernel: pip finds no wheel of {name}{specifier} for Python {python} ({said}); connect this machine to a "
    raise KitError(f"{msg}package index, or set PIP_FIND_LINKS to a folder that has it")


def pack_kit(folder: Path) -> Path:
    """Write the kit, as it runs here, as a wheel; the same files give the same bytes."""
    package, kit = Path(__file__).parents[1], distribution("kaggle-unet")
    stem = f"kaggle_unet-{kit.version}"
    info = f"{stem}.dist-info"
    sources = (file for file in sorted(package.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
    files = {file.relative_to(package.parent).as_posix(): file.read_bytes() for file in sources}
    python, *required = _kit_requirements()
    about = ["Metadata-Version: 2.4", "Name: kaggle-unet", f"Version: {kit.version}", "License-Expression: MIT"]
    about += [f"Requires-Python: {python.removeprefix('python')}", *(f"Requires-Dist: {one}" for one in required)]
    files[f"{info}/METADATA"] = "\n".join([*about, ""]).encode()
    checkout = _find_checkout()
    terms = (checkout / "LICENSE").read_text() if checkout else kit.read_text("licenses/LICENSE") or ""
    files[f"{info}/licenses/LICENSE"] = terms.encode()
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nkaggle-unet = kaggle_unet.cli:main\n"
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: kaggle-unet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode() for name, data in files.items()}
    rows = [f"{name},sha256={hashes[name].rstrip('=')},{len(data)}\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # without a time stamp
    return wheel
