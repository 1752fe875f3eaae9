"""The pages on adding a competition, a codec and a loss, followed to the letter on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys

import pytest

PAGES = ("add-competition", "add-codec", "add-loss")


def read_blocks(repository, page):
    """Yield the language and text of each fenced block, and "sh" and the command of each indented one."""
    text = (repository / "docs/how-to" / f"{page}.md").read_text(encoding="utf-8")
    for language, block, command in re.findall(
        r"^```(\w+)\n(.*?)^```$|^    (kaggle-unet [^\n]*)$", text, re.DOTALL | re.M
    ):
        yield (language, block) if language else ("sh", command)


def change(package, diff):
    """Change a file as a block says: after its name hunks, in which each old part must be in the file once."""
    name, *hunks = re.split(r"\n?^@@\n", diff, flags=re.M)
    file = package / name.removeprefix("--- ")
    text = file.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = hunk.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != drop) for drop in "+-")
        assert text.count(old) == 1, f"{file}: this part is there {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def extended(repository, tmp_path_factory):
    """A copy of the package with all three pages done, and their code that tries it, run there."""
    copy, tries = tmp_path_factory.mktemp("copy"), []
    shutil.copytree(repository / "kaggle_unet", copy / "kaggle_unet", ignore=shutil.ignore_patterns("__pycache__"))
    for page in PAGES:
        for language, block in read_blocks(repository, page):
            if language == "diff":
                change(copy, block)
            elif block.startswith("# kaggle_unet/"):
                name, _, code = block.partition("\n")
                (copy / name.removeprefix("# ")).write_text(code, encoding="utf-8")
            elif language == "python":
                tries.append(block)
    assert len(tries) == len(PAGES)
    where = f"assert ku.__file__.startswith({str(copy)!r})\n"
    return copy, run(copy, "-c", "\n".join([tries[0], where, *tries[1:]]), NUMBA_DISABLE_JIT="1")


def run(copy, *words, **environment):
    """Run Python in the folder of the copy, whose package then comes first."""
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def test_the_code_that_the_pages_try_runs_on_the_package_that_they_have_changed(extended):
    _, tried = extended
    assert tried.returncode == 0, tried.stderr


@pytest.mark.notebook
def test_the_contracts_hold_and_the_commands_work_on_the_changed_package(extended, repository):
    copy, _ = extended
    for name in ("tests", "pyproject.toml"):
        (copy / name).symlink_to(repository / name)
    options = {"NUMBA_CACHE_DIR": str(copy / "numba")}
    tests = ["tests/targets/test_codecs.py::TestEveryCodec", "tests/losses"]
    contracts = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, **options)
    assert contracts.returncode == 0, contracts.stdout[-3000:]
    config = copy / "configs/rooftops/quick.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "competition: {name: rooftops}\ncodec: {name: mask_interior}\nloss: {tversky: 1}\n"
        "folds: {n: 2, stratify: none}\nmodel: {name: plain_unet, filters: 4, depth: 2}\n"
    )
    commands = [block for language, block in read_blocks(repository, PAGES[0]) if language == "sh"]
    assert len(commands) == 4
    for command in commands:
        done = run(copy, "-m", *command.replace("kaggle-unet", "kaggle_unet").split(), **options)
        assert done.returncode == 0, (command, done.stderr)
    assert (copy / "buildings.csv").read_text().startswith("tile,rle\n")
