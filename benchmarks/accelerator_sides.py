"""Both sides of a comparison on one card, within the time that is left."""

import statistics
import sys
from collections.abc import Callable

from accelerator_rows import Clock
from sides import Side, SideError, SideTimeout

FRACTION = 0.45
"""Of the card's memory, for each side: neither takes it from the other."""

PATIENCE = 150
"""Seconds after which a side that does not answer is given up, with its row."""

TURNS = 5


class Sides:
    """segjax's process and, where there is torch, PyTorch's; started when they are needed."""

    def __init__(self, torch: str | None, clock: Clock):
        self._torch, self._clock = torch, clock
        self._running: dict[str, Side] = {}

    def __enter__(self) -> "Sides":
        return self

    def __exit__(self, *_) -> None:
        for side in self._running.values():
            side.kill()
        self._running = {}

    def measure(self, work: Callable[[], dict]) -> dict | None:
        """Returns what `work` finds, an error where a side fails; None if the time is over."""
        try:
            return work()
        except SideError as error:
            self.__exit__()  # The next row gets new processes.
            if isinstance(error, SideTimeout) and self._clock.left < 1:
                return None
            return {"error": str(error)}

    @property
    def segjax(self) -> Side:
        """segjax's side."""
        limit = {"XLA_PYTHON_CLIENT_MEM_FRACTION": str(FRACTION)}
        if "segjax" not in self._running:
            side = Side(sys.executable, "segjax_side.py", environment=limit)
            self._running["segjax"] = side
        return self._running["segjax"]

    @property
    def torch(self) -> Side | None:
        """PyTorch's side, or None."""
        if self._torch and "torch" not in self._running:
            self._running["torch"] = Side(self._torch, "torch_side.py")
        return self._running.get("torch")

    def answer(self, side: Side, **message) -> dict:
        """Returns a side's answer, to an earlier message where there is none now.

        {"error": …} where it cannot do this, but goes on.
        """
        try:
            if message:
                side.tell(memory_fraction=FRACTION, **message)
            return side.answer(self._patience)
        except SideTimeout:
            raise
        except SideError as error:
            if side.process.poll() is not None:
                raise
            return {"error": str(error)}

    def in_turns(self, *sides: Side, least: float = 0.3) -> list[float]:
        """Returns the median seconds of a run of each side, the sides taking turns.

        A turn takes `least` seconds or more.
        """
        run = lambda side, count: side.ask(self._patience, run=count)
        counts = [max(1, int(least / max(run(side, 2), 1e-5))) for side in sides]
        turns = [
            [run(side, count) for side, count in zip(sides, counts, strict=True)]
            for _ in range(TURNS)
        ]
        return [statistics.median(column) for column in zip(*turns, strict=True)]

    @property
    def _patience(self) -> float:
        return max(0.1, min(self._clock.left, PATIENCE))
