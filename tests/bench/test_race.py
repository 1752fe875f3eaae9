from functools import partial
from time import sleep

import pytest

from tests.bench.race import Race, Rival


class Benchmark:
    """What is used of pytest-benchmark's fixture."""

    def __init__(self):
        self.extra_info = {}

    def pedantic(self, run, setup, rounds):
        for _ in range(rounds):
            setup()
            run()


def check(ours, theirs):
    assert ours == theirs


def answer(log, name, number=42):
    log.append(name)
    return number


def test_all_take_turns():
    log, benchmark = [], Benchmark()
    rivals = [Rival(name, partial(answer, log, name), 1, 0, check) for name in ("one", "other")]

    Race(budget_s=1).run(benchmark, {"operation": "answer"}, partial(answer, log, "ours"), rivals)

    # Quick calls are repeated, and only the second is timed.
    assert log.count("one") == log.count("other") == 2 * 25 + 2
    assert log[-7:-1] == ["one", "one", "other", "other", "ours", "ours"]  # the last one measures memory
    assert [len(times) for times in benchmark.extra_info["seconds"].values()] == [25, 25]


def test_a_rival_with_another_result_ends_the_race():
    rival = Rival("wrong", partial(answer, [], "wrong", 41), 1, 0, check)

    with pytest.raises(AssertionError):
        Race(budget_s=1).run(Benchmark(), {"operation": "answer"}, partial(answer, [], "ours"), [rival])


def test_a_rival_that_needs_too_much_memory_is_not_asked():
    log, benchmark = [], Benchmark()
    rival = Rival("large", partial(answer, log, "large"), 1, 3 * 2**30, check)

    Race(budget_s=1).run(benchmark, {"operation": "answer"}, partial(answer, [], "ours"), [rival])

    assert log == []
    assert benchmark.extra_info["absent"] == {"large": "needs 3.0 GiB"}


def test_a_rival_that_is_too_slow_is_not_asked_again():
    log, race = [], Race(budget_s=0.01)

    def dawdle():
        sleep(0.03)
        return answer(log, "slow")

    reasons = []
    for work in (1, 2):
        benchmark = Benchmark()
        rival = Rival("slow", dawdle, work, 0, check, most_s=0.02)
        race.run(benchmark, {"operation": "answer"}, partial(answer, [], "ours"), [rival])
        reasons.append(benchmark.extra_info["absent"]["slow"])

    assert log == ["slow"]
    assert reasons == ["took 0 s", "would take some 0 s"]


def test_input_is_prepared_outside_the_time():
    benchmark = Benchmark()
    rival = Rival("pair", lambda pair: pair[0], 1, 0, check, prepare=lambda: sleep(0.05) or (42, 0))

    Race(budget_s=0.01).run(benchmark, {"operation": "answer"}, partial(answer, [], "ours"), [rival])

    assert max(benchmark.extra_info["seconds"]["pair"]) < 0.05
