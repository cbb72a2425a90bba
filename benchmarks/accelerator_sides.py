"""Both sides of a comparison on one card, within the time that is left."""

import statistics
import sys
from collections.abc import Mapping
from typing import Any

from accelerator_rows import Clock, TimeOver
from sides import Side, SideError, SideTimeout

FRACTION = 0.45
"""Fraction of the GPU's memory that each process may use."""

PATIENCE = 150
"""Seconds to wait for an answer; then the process is ended, and its result is an error."""

TURNS = 5
FULL = "out of memory"


class Sides:
    """segjax's process and, where there is torch, PyTorch's; started when they are needed."""

    def __init__(self, torch: str | None, clock: Clock):
        self._torch, self._clock = torch, clock
        self._running: dict[str, Side] = {}

    def __enter__(self) -> "Sides":
        return self

    def __exit__(self, *_) -> None:
        for name in list(self._running):
            self._end(name)

    @property
    def names(self) -> list[str]:
        """The sides that there are on this machine."""
        return ["torch", "segjax"] if self._torch else ["segjax"]

    def ask(self, name: str, /, **message: Any) -> Any:
        """Returns a side's answer, or {"error": …}; a failed side is started anew next time.

        Raises:
          TimeOver: the side has not answered within the time of the stage.
        """
        side = self._side(name)
        try:
            return side.ask(max(0.1, min(self._clock.left, PATIENCE)), **message)
        except SideTimeout as error:
            self._end(name)
            if self._clock.left < 1:
                raise TimeOver from None
            return {"error": str(error)}
        except SideError as error:
            if str(error) != FULL:  # After an illegal access, say, all that follows would fail.
                self._end(name)
            return {"error": str(error)}

    def prepare(self, name: str, /, **case: Any) -> dict[str, Any]:
        """Returns what a side says of a case that it has prepared, or its error."""
        return self.ask(name, memory_fraction=FRACTION, **case)

    def in_turns(self, answers: Mapping[str, dict], *, least: float = 0.3) -> None:
        """Adds to the answers of prepared sides `turns`: seconds of a run, sides in turns.

        A turn takes `least` seconds or more. A side that fails gets its error and is left out.
        """
        counts: dict[str, int] = {}
        for name, answer in answers.items():
            if "error" not in answer:
                seconds = self.ask(name, run=2)
                if isinstance(seconds, dict):
                    answer.update(seconds)
                else:
                    counts[name] = max(1, int(least / max(seconds, 1e-5)))
        for _ in range(TURNS):
            for name in list(counts):
                seconds = self.ask(name, run=counts[name])
                if isinstance(seconds, dict):
                    answers[name].update(seconds)
                    del counts[name]
                else:
                    answers[name].setdefault("turns", []).append(seconds)

    def _side(self, name: str) -> Side:
        if name not in self._running:
            python = sys.executable if name == "segjax" else self._torch
            assert python is not None
            limit = {"XLA_PYTHON_CLIENT_MEM_FRACTION": str(FRACTION)}
            self._running[name] = Side(python, f"{name}_side.py", environment=limit)
        return self._running[name]

    def _end(self, name: str) -> None:
        if name in self._running:
            self._running.pop(name).kill()


def median(answer: Mapping[str, Any]) -> float | None:
    """The median of an answer's turns; None where it has none or has failed since."""
    turns = answer.get("turns")
    return statistics.median(turns) if turns and "error" not in answer else None
