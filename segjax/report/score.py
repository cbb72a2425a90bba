"""How a score is shown, in a report, a table or a line."""

from typing import NamedTuple


class Score(NamedTuple):
    """A score for people.

    Attributes:
      title: as a heading has it, such as "Mean IoU".
      is_share: whether it lies between 0 and 1 and is shown in per cent.
      higher_is_better: whether the best checkpoint is the one that has most of it.
      is_logged: whether it is in `metrics.jsonl`, tables and comparisons too.
      is_optional: whether it is shown only where an evaluation has it.
    """

    title: str
    is_share: bool = True
    higher_is_better: bool = True
    is_logged: bool = False
    is_optional: bool = False

    @property
    def name(self) -> str:
        """The title within a sentence: "mean IoU", but "IoU" and "Dice"."""
        if " " not in self.title:
            return self.title
        return self.title[:1].lower() + self.title[1:]

    def text(self, value: float) -> str:
        """Returns a value with its unit: "83.20 %", "0.0123"."""
        return f"{100 * value:.2f} %" if self.is_share else f"{value:.4g}"
