"""Options and fixtures of the benchmark."""

from functools import partial

import pytest

from tests.bench.cases import labels_of
from tests.bench.race import Race
from tests.bench.warm import warm


def pytest_addoption(parser):
    """Add --quick; known only where pytest is given this folder, as scripts/bench does."""
    parser.addoption("--quick", action="store_true", help="leave out the large cases and hurry through the others")


def pytest_ignore_collect(collection_path, config):
    """Leave the rivals alone, which need not be installed and take seconds to import, where nothing is benchmarked."""
    is_wanted = "bench" in config.option.markexpr.replace("not bench", "")
    return None if is_wanted or collection_path.name != "operations" else True


@pytest.fixture(scope="session")
def is_quick(request):
    """Whether --quick was given."""
    return request.config.getoption("--quick", default=False)


@pytest.fixture(scope="session")
def session_race(is_quick):
    """One for all cases, so that it learns the rivals' pace; every kernel is compiled by then."""
    warm()
    return Race(budget_s=0.2 if is_quick else 1.0)


@pytest.fixture
def labels(case, is_quick):
    """Labels of the test's case."""
    if is_quick and not case.is_quick:
        pytest.skip("left out by --quick")
    return labels_of(case)


@pytest.fixture
def race(session_race, benchmark):
    """Time our function and its rivals; see `tests.bench.race.Race.run`."""
    return partial(session_race.run, benchmark)
