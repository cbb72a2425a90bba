"""How a score is shown in a report, a table or a line."""

from typing import NamedTuple


class Score(NamedTuple):
    """How a score is named and shown.

    Attributes:
      title: in a heading, such as "Mean IoU".
      is_share: whether it is within 0 … 1 and shown in per cent.
      higher_is_better: whether the best checkpoint has the highest value.
      is_logged: whether it is also in `metrics.jsonl`, tables and comparisons.
      is_optional: whether it is left out where an evaluation does not have it.
    """

    title: str
    is_share: bool = True
    higher_is_better: bool = True
    is_logged: bool = False
    is_optional: bool = False

    @property
    def name(self) -> str:
        """The title inside a sentence: "mean IoU", but "IoU" and "Dice"."""
        if " " not in self.title:
            return self.title
        return self.title[:1].lower() + self.title[1:]

    def text(self, value: float) -> str:
        """Returns a value with its unit: "83.20 %", "0.0123"."""
        return f"{100 * value:.2f} %" if self.is_share else f"{value:.4g}"
