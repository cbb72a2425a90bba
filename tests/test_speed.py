"""What the benchmarks against peers take for a turn."""

import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    """The script, imported as it finds the others when it runs."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import speed

        yield speed
    finally:
        sys.path.remove(str(BENCHMARKS))


class Slow:
    """A side whose first run after a pause takes three times as long as the others."""

    def __init__(self):
        self.asked = []

    def ask(self, run):
        self.asked.append(run)
        return 3.0 if len(self.asked) == 1 else 1.0


def test_the_first_run_after_a_pause_is_not_timed(speed, monkeypatch):
    paused = []
    monkeypatch.setattr(speed.time, "sleep", paused.append)
    side = Slow()
    assert speed._turn(side, 4) == 1.0
    assert side.asked == [1, 4] and paused == [speed.PAUSE]
