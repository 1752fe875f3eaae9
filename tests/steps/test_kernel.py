"""`kernel`: a dataset and a notebook for Kaggle, and the notebook run as Kaggle would run it."""

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kaggle_unet
from kaggle_unet.errors import ConfigError, KitError
from kaggle_unet.steps import kernel
from kaggle_unet.steps.kernel import pack_kit, pack_missing, read_image
from tests.steps.conftest import call

dsb_only = pytest.mark.parametrize("trained", ["dsb2018"], indirect=True)


def write_image(path, *changes, python="3.12", without=()):
    """Write a list that satisfies the kit, with some packages in other versions."""
    lines = kernel._TEMPLATES.with_name("kaggle_image.txt").read_text().splitlines()
    names = {canonicalize_name(re.split("[= ]", change)[0]) for change in changes} | set(without)
    kept = [line for line in lines if "==" in line and canonicalize_name(line.split("==")[0]) not in names]
    path.write_text("\n".join([f"Python {python}", *kept, "matplotlib==3.10.0", *changes]))
    return path


@pytest.fixture
def index(monkeypatch):
    """A package index: what each package requires; call it to find what was asked of it."""
    packages, asked = {}, []

    def download(folder, name, specifier, python):
        asked.append(f"{name}{specifier}")
        if name not in packages:
            raise KitError(f"no wheel of {name}")
        version = next(
            version for version in ("6.0", "5.9", "4.9", "3.9", "2.9", "1.5", "0.6") if specifier.contains(version)
        )
        wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        requires = "".join(f"Requires-Dist: {one}\n" for one in packages[name])
        with zipfile.ZipFile(wheel, "w") as archive:
            info = f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        return wheel

    monkeypatch.setattr(kernel, "_download", download)
    packages.update(
        {"segmentation-models-pytorch": ["timm", "torch"], "lightning-fabric": [], "matplotlib": [], "onnxruntime": []}
    )
    packages["asked"] = asked
    return packages


def names(folder):
    return sorted(path.name.split("-")[0] for path in folder.iterdir())


def test_the_list_that_comes_with_the_kit_is_dated_and_lacks_little(index, tmp_path):
    image = kernel._TEMPLATES.with_name("kaggle_image.txt")
    assert "approximately, as of June 2026" in image.read_text()
    wheels, remarks = pack_missing(tmp_path / "wheels", (), image)
    assert len(wheels) == 3
    assert names(tmp_path / "wheels") == ["lightning_fabric", "matplotlib", "segmentation_models_pytorch"]
    assert remarks == ["matplotlib 3.7.5 of Kaggle's image is too old; matplotlib-6.0-py3-none-any.whl replaces it"]


def test_what_pip_freeze_prints_is_read_with_addresses(tmp_path):
    (tmp_path / "image.txt").write_text(
        "Python 3.12.12\n# a comment\nnumpy==2.0.2\nPillow==11.3.0\n-e git+https://x/y#egg=z\n"
        "torch @ https://download.pytorch.org/whl/cu124/torch-2.6.0%2Bcu124-cp312-cp312-linux_x86_64.whl#sha256=a81b\n"
        "learntools @ git+https://github.com/Kaggle/learntools@8a5d3c3\n"
    )
    versions = read_image(tmp_path / "image.txt")
    assert versions == {"python": "3.12", "numpy": "2.0.2", "pillow": "11.3.0", "torch": "2.6.0+cu124"}


@pytest.mark.parametrize("text", ["", "numpy==2.0.2", "Python 3.12\nsome words", None])
def test_what_is_no_list_is_refused_with_the_command_that_prints_one(text, tmp_path):
    if text is not None:
        (tmp_path / "image.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"image\.txt.*pip freeze"):
        read_image(tmp_path / "image.txt")


def test_only_what_is_missing_is_packed_and_what_that_requires(index, tmp_path):
    index["segmentation-models-pytorch"] = [
        "timm>=1",
        "new-thing>=1; python_version>='3.12'",
        "odd; sys_platform=='win32'",
    ]
    index["new-thing"] = ["lightning-fabric<3", "deeper"]
    index["deeper"] = ["new-thing<2", "numpy>=1.20"]
    wheels, remarks = pack_missing(tmp_path / "wheels", (), write_image(tmp_path / "image.txt"))
    assert remarks == []
    assert names(tmp_path / "wheels") == ["deeper", "lightning_fabric", "new_thing", "segmentation_models_pytorch"]
    assert "new_thing-1.5-py3-none-any.whl" in wheels  # deeper wants an older one
    assert wheels == sorted(path.name for path in (tmp_path / "wheels").iterdir())
    assert index["asked"][-1] == "new-thing<2,>=1"


def test_extras_are_packed_where_the_run_needs_them(index, tmp_path):
    image = write_image(tmp_path / "image.txt", without={"lightgbm"})
    index["lightgbm"] = []
    pack_missing(tmp_path / "wheels", ["onnx", "second-level"], image)
    assert {"onnxruntime", "lightgbm"} < set(names(tmp_path / "wheels"))


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python", "opencv-python-headless"])
def test_any_opencv_that_is_there_is_enough(name, index, tmp_path):
    others = {"opencv-python", "opencv-contrib-python", "opencv-python-headless"} - {name}
    image = write_image(tmp_path / "image.txt", f"{name}==4.13.0.92", without=others)
    pack_missing(tmp_path / "wheels", (), image)
    assert not [wheel for wheel in names(tmp_path / "wheels") if "opencv" in wheel]


def test_no_opencv_at_all_is_packed(index, tmp_path):
    index["opencv-python-headless"] = []
    opencv = {"opencv-python", "opencv-contrib-python", "opencv-python-headless"}
    pack_missing(tmp_path / "wheels", (), write_image(tmp_path / "image.txt", without=opencv))
    assert [wheel for wheel in names(tmp_path / "wheels") if "opencv" in wheel] == ["opencv_python_headless"]


@pytest.mark.parametrize(
    ("changes", "without", "found"),
    [
        (["torch==2.6.0+cu124"], (), r"has torch 2\.6\.0\+cu124; torch<3,>=2\.10 is needed"),
        ([], ["torchvision"], "has no torchvision; torchvision is needed"),
        (["numpy==1.23.5"], (), r"has numpy 1\.23\.5"),
        (["opencv-python==4.5.0"], ["opencv-contrib-python", "opencv-python-headless"], "opencv-python-headless 4.5.0"),
    ],
)
def test_what_cannot_be_replaced_is_refused(changes, without, found, index, tmp_path):
    with pytest.raises(ConfigError, match=f"{found}.*newest environment"):
        pack_missing(tmp_path / "wheels", (), write_image(tmp_path / "image.txt", *changes, without=without))


def test_an_old_python_is_refused(index, tmp_path):
    with pytest.raises(ConfigError, match=r"has python 3\.10; python>=3\.11 is needed"):
        pack_missing(tmp_path / "wheels", (), write_image(tmp_path / "image.txt", python="3.10"))


def test_a_version_that_pip_cannot_find_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    from packaging.specifiers import SpecifierSet

    with pytest.raises(
        KitError, match=r"no wheel of nowhere>=0\.1 for Python 3\.12 \(ERROR: No matching.*PIP_FIND_LINKS"
    ):
        kernel._download(tmp_path, "nowhere", SpecifierSet(">=0.1"), "3.12")


def test_the_wheel_of_the_kit_is_the_same_twice_and_what_it_lists(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (pack_kit(tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    record = next(name for name in contents if name.endswith("RECORD"))
    rows = [row.rsplit(",", 2) for row in contents[record].decode().splitlines()]
    assert {name for name, _, _ in rows} == set(contents)
    for name, digest, size in rows[:-1]:
        found = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={found}", str(len(contents[name])))
    package = {name for name in contents if name.startswith("kaggle_unet/")}
    assert {"kaggle_unet/py.typed", "kaggle_unet/steps/kaggle/notebook/submission.ipynb"} < package
    assert not [name for name in package if "__pycache__" in name]
    about = PathDistribution(zipfile.Path(first, f"{Path(record).parent}/"))
    assert (about.name, about.version) == ("kaggle-unet", kaggle_unet.__version__)
    assert about.metadata["Requires-Python"] == ">=3.11"
    assert {"torch<3,>=2.10", "packaging>=22"} < {str(Requirement(one)) for one in about.requires}
    assert b"MIT License" in contents[record.replace("RECORD", "licenses/LICENSE")]
    assert b"kaggle-unet = kaggle_unet.cli:main" in contents[record.replace("RECORD", "entry_points.txt")]


@dsb_only
def test_the_folders_are_what_kaggles_client_and_notebooks_expect(trained, index, tmp_path):
    answer = call("kernel", trained.run, "--competition", "dsb2018", "-o", tmp_path / "k", "--owner", "ada")
    assert answer.code == 0, answer.err
    dataset, notebook = tmp_path / "k" / "dataset", tmp_path / "k" / "notebook"
    about = json.loads((dataset / "dataset-metadata.json").read_text())
    owner, slug = about["id"].split("/")
    assert owner == "ada"
    assert re.fullmatch("kaggle-unet-[a-z0-9-]{1,38}", slug)
    assert about["title"].replace(" ", "-") == slug
    assert 6 <= len(about["title"]) <= 50
    assert len(about["licenses"]) == 1
    about = json.loads((notebook / "kernel-metadata.json").read_text())
    assert about["code_file"] == "submission.ipynb"
    assert about["dataset_sources"] == [f"ada/{slug}"]
    assert about["competition_sources"] == ["data-science-bowl-2018"]
    assert about["enable_internet"] is False
    assert about["is_private"] is True
    checkpoints = sorted(dataset.glob("checkpoints/run/fold*/*"))
    assert [path.name for path in checkpoints] == ["best.safetensors", "best.safetensors.sha256"] * 2
    assert "kaggle datasets create -p" in answer.out
    assert f"kaggle kernels output ada/{slug}" in answer.out
    assert not list(tmp_path.glob(".*"))


@dsb_only
def test_the_notebook_has_at_most_thirty_lines_of_code_and_finds_everything(trained, index, tmp_path):
    other = shutil.copytree(trained.run, tmp_path / "again" / "run")
    answer = call("kernel", trained.run, other, "--competition", "dsb2018", "-o", tmp_path / "k")
    assert answer.code == 0, answer.err
    assert "give --owner" in answer.err
    notebook = json.loads((tmp_path / "k" / "notebook" / "submission.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    named = {
        node.targets[0].id: node.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    files = ast.literal_eval(named["CHECKPOINTS"])
    assert len(set(files)) == 4
    assert [(tmp_path / "k" / "dataset" / "checkpoints" / file).is_file() for file in files] == [True] * 4
    assert ast.literal_eval(named["TEST"]) == "stage1_test.zip"
    assert "import kaggle_unet" in code or "from kaggle_unet" in code


@dsb_only
def test_decoding_and_weights_are_in_the_config(trained, index, tmp_path):
    decode = tmp_path / "decode.yaml"
    decode.write_text("decode: {mask_threshold: 0.37}\n")
    words = ("--competition", "dsb2018", "--decode", decode, "--set", "inference.weights=[1,2]")
    answer = call("kernel", trained.run, *words, "-o", tmp_path / "k")
    assert answer.code == 0, answer.err
    config = (tmp_path / "k" / "dataset" / "config.yaml").read_text()
    assert "mask_threshold: 0.37" in config
    assert "weights:\n  - 1.0\n  - 2.0" in config


@dsb_only
def test_what_is_there_is_not_overwritten_and_a_folder_is_no_competition(trained, index, tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "mine.txt").touch()
    answer = call("kernel", trained.run, "--competition", "dsb2018", "-o", tmp_path / "k")
    assert (answer.code, "is there already" in answer.err) == (2, True)
    answer = call("kernel", trained.run, "--competition", "folder", "-o", tmp_path / "x")
    assert (answer.code, "no competition on Kaggle" in answer.err) == (2, True)
    index.pop("lightning-fabric")
    answer = call("kernel", trained.run, "--competition", "dsb2018", "-o", tmp_path / "x")
    assert (answer.code, "no wheel of lightning-fabric" in answer.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["k"]  # nothing half-written


MISSING = (
    "segmentation-models-pytorch",
    "lightning-fabric",
    "lightning-utilities",
    "albumentations",
    "albucore",
    "tifffile",
)
RUN = """
import json, socket, sys
from pathlib import Path

def refused(work):
    try:
        work()
    except OSError:
        return True

assert refused(lambda: socket.create_connection(("1.1.1.1", 53), timeout=1))
assert refused(lambda: Path(sys.argv[2], "input", "x").touch())
place = {}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]).replace("/kaggle/", sys.argv[2] + "/"), place)

from kaggle_unet.steps.kernel import pack_kit
pack_kit(Path(sys.argv[2], "working"))
"""


def repack(package, folder):
    """Make a wheel again of an installed package, as an index would serve it."""
    name, tag = package.name.replace("-", "_"), re.search("Tag: (.*)", package.read_text("WHEEL"))[1]
    with zipfile.ZipFile(folder / f"{name}-{package.version}-{tag}.whl", "w") as archive:
        for file in package.files:
            if "__pycache__" not in file.parts and ".." not in file.parts:
                archive.write(file.locate(), file.as_posix())


def make_environment(folder, index):
    """An environment with the packages of this one, as links, but for some and the kit; returns its pip freeze.

    Those that it lacks are in the index, a folder of wheels.
    """
    index.mkdir()
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    here = Path(next(path for path in site.getsitepackages() if Path(path, "numpy").is_dir()))
    left_out, freeze = {"kaggle_unet", "__pycache__"}, []
    for one in distributions(path=[str(here)]):
        name = canonicalize_name(one.name)
        if name in MISSING or name == "kaggle-unet":
            left_out |= {file.parts[0] for file in one.files or ()}
            if name in MISSING:
                repack(one, index)
        else:
            freeze.append(f"{'opencv-python' if 'opencv' in name else one.name}=={one.version}")
    for entry in here.iterdir():
        if entry.name not in left_out:
            (packages / entry.name).symlink_to(entry)
    return [f"Python {sys.version_info[0]}.{sys.version_info[1]}", *freeze]


@pytest.mark.notebook
@pytest.mark.parametrize("trained", ["dsb2018", "tgs"], indirect=True)
def test_without_internet_the_notebook_writes_the_bytes_that_submit_does(trained, tmp_path, monkeypatch):
    environment, image, kaggle = tmp_path / "environment", tmp_path / "image.txt", tmp_path / "kaggle"
    image.write_text("\n".join(make_environment(environment, tmp_path / "index")))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    answer = call("kernel", trained.run, "--competition", trained.name, "--image", image, "-o", tmp_path / "k")
    assert answer.code == 0, answer.err
    assert answer.err.count("replaces") == 0
    wheels = names(tmp_path / "k" / "dataset" / "wheels")
    assert set(wheels) == {"kaggle_unet", *(name.replace("-", "_") for name in MISSING)}
    about = json.loads((tmp_path / "k" / "notebook" / "kernel-metadata.json").read_text())
    inputs = kaggle / "input"
    shutil.copytree(tmp_path / "k" / "dataset", inputs / "datasets" / about["dataset_sources"][0])
    data = inputs / "competitions" / about["competition_sources"][0]
    data.mkdir(parents=True)
    tests = data / {"dsb2018": "stage1_test.zip", "tgs": "test.zip"}[trained.name]
    shutil.copyfile(trained.test, tests)
    for csv in trained.test.parent.glob("depths.csv"):
        shutil.copyfile(csv, data / csv.name)
    (kaggle / "working").mkdir()
    (tmp_path / "run.py").write_text(RUN)
    read_only = "mount --bind {0} {0} && mount -o remount,bind,ro {0} && "
    script = read_only.format(f"'{inputs}'") + read_only.format(f"'{Path(sys.prefix).resolve()}'")
    words = [environment / "bin" / "python", tmp_path / "run.py", tmp_path / "k/notebook/submission.ipynb", kaggle]
    done = subprocess.run(
        ["unshare", "-r", "-n", "-m", "sh", "-c", script + 'exec "$@"', "sh", *map(str, words)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    assert "covers   all 4 images" in done.stdout
    answer = call("submit", trained.run, "--data", tests, "-o", tmp_path / "here.csv")
    assert answer.code == 0, answer.err
    assert (kaggle / "working" / "submission.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    (packed,), (again,) = (folder.rglob("kaggle_unet-*.whl") for folder in (inputs, kaggle / "working"))
    assert again.read_bytes() == packed.read_bytes()  # an installed kit packs itself again
    manifest = json.loads((kaggle / "working" / "submission.json").read_text())
    here = json.loads((tmp_path / "here.json").read_text())
    assert manifest["time_budget"]["reduced"] == {}
    assert manifest["checkpoints"] == here["checkpoints"]
