"""One operation on one case: ours and its rivals, in turn, in one process.

pytest-benchmark times our function; before each of its rounds the rivals that are due run once, so that a noisy minute
of the machine hits all alike. What is quick runs once untimed before it is timed: all find warm caches then.
"""

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

# A rival that needs more is not run.
MOST_BYTES, MOST_S = 2 * 2**30, 10.0
# What takes less is repeated untimed before it is timed.
QUICK_S = 0.01
# What takes longer needs no warming up: the run whose result is compared counts as a round.
SLOW_S = 1.0
# Rounds of our function, and of a rival; two are enough for what takes seconds.
LEAST_ROUNDS, LEAST_ROUNDS_OF_RIVAL, MOST_ROUNDS = 5, 3, 25
VERY_SLOW_S = 4.0


@dataclass(frozen=True)
class Rival:
    """Another way to the same result.

    Attributes
    ----------
    name : str
        As the tables have it.
    run : callable
        Takes what `prepare` makes, or nothing.
    work : float
        What its time grows with; only the growth from case to case counts.
    n_bytes : float
        What its arrays take at their peak, by their shapes.
    check : callable
        Takes our result and the rival's; raises if they differ. A number that it returns is the share that agrees.
    prepare : callable, optional
        Makes the natural input, untimed.
    most_s : float
        If it takes longer, it is left out.
    """

    name: str
    run: Callable[..., Any]
    work: float
    n_bytes: float
    check: Callable[[Any, Any], float | None]
    prepare: Callable[[], Any] | None = None
    most_s: float = MOST_S


@dataclass
class Race:
    """What a session knows of the rivals.

    Attributes
    ----------
    budget_s : float
        How long each contestant is timed on a case, roughly.
    pace : dict of (operation, rival) to float
        Seconds per unit of work on the last case.
    """

    budget_s: float
    pace: dict[tuple[str, str], float] = field(default_factory=dict)

    def run(self, benchmark, about: dict[str, Any], ours: Callable[[], Any], rivals: Sequence[Rival]) -> None:
        """Compare the results, then time all in turn; what is found goes to the benchmark's `extra_info`.

        Parameters
        ----------
        benchmark : pytest_benchmark.fixture.BenchmarkFixture
            The test's.
        about : dict
            `operation` and what there is to know of the case; see `tests.bench.cases.describe`.
        ours : callable
            Our function on the case.
        rivals : sequence of Rival
            In any order.
        """
        expected = ours()
        runs, seconds, absent, agreement = {}, {}, {}, {}
        for rival in rivals:
            absent[rival.name] = self._foresee(about["operation"], rival)
            if absent[rival.name]:
                continue
            run = partial(rival.run, rival.prepare()) if rival.prepare else rival.run
            first_s, found = _time(run)
            self.pace[about["operation"], rival.name] = first_s / rival.work
            agreement[rival.name] = rival.check(expected, found)
            if first_s > rival.most_s:
                absent[rival.name] = f"took {first_s:.0f} s"
            else:
                runs[rival.name], seconds[rival.name] = run, [first_s]
        del expected
        found = None
        self._measure(benchmark, ours, runs, seconds)
        benchmark.group = about["operation"]
        benchmark.extra_info.update(
            about,
            seconds=seconds,
            absent={name: reason for name, reason in absent.items() if reason},
            agreement={name: share for name, share in agreement.items() if share is not None},
            peak_bytes=_peak_bytes(ours),
        )

    def _foresee(self, operation: str, rival: Rival) -> str:
        """Say why a rival is not asked at all."""
        if rival.n_bytes > MOST_BYTES:
            return f"needs {rival.n_bytes / 2**30:.1f} GiB"
        expected_s = self.pace.get((operation, rival.name), 0) * rival.work
        return f"would take some {expected_s:.0f} s" if expected_s > rival.most_s else ""

    def _measure(self, benchmark, ours, runs, seconds) -> None:
        """Time ours with pytest-benchmark, and the rivals between its rounds; `seconds` holds their first run."""
        ours_s = _time(ours)[0]
        laps = max(LEAST_ROUNDS, self._rounds(ours_s))
        due = {}
        for name, (first_s,) in list(seconds.items()):
            seconds[name] = [first_s] if first_s > SLOW_S else []
            least = 2 if first_s > VERY_SLOW_S else LEAST_ROUNDS_OF_RIVAL
            due[name] = min(laps, max(least, self._rounds(first_s)) - len(seconds[name]))
        lap = iter(range(laps))

        def run_rivals():
            i = next(lap)
            for name, run in runs.items():
                if due[name] * (i + 1) // laps > due[name] * i // laps:
                    seconds[name].append(_time(run)[0])
            if ours_s < QUICK_S:
                ours()

        benchmark.pedantic(ours, setup=run_rivals, rounds=laps)

    def _rounds(self, seconds: float) -> int:
        return min(MOST_ROUNDS, round(self.budget_s / seconds))


def _time(run: Callable[[], Any]) -> tuple[float, Any]:
    """Run once, or twice if it is quick, and give the last run's seconds and result."""
    start = perf_counter()
    found = run()
    seconds = perf_counter() - start
    if seconds > QUICK_S:
        return seconds, found
    start = perf_counter()
    found = run()
    return perf_counter() - start, found


def _peak_bytes(run: Callable[[], Any]) -> int:
    """Measure what numpy and Python hold at most while it runs, its input excepted."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
