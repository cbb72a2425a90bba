"""A progress bar whose line holds as many of its parts as the terminal has room for."""

from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

NARROWEST, WIDEST = 10, 40
"""Characters of the bar itself."""


class ProgressBar(tqdm):
    """A bar drawn as `bar_line`; `values` are the latest measurements, as text.

    tqdm's own line lets the bar shrink to one character and then cuts the numbers.
    """

    values: Sequence[str] = ()

    def __init__(self, **options: Any):
        super().__init__(dynamic_ncols=True, **options)

    def __str__(self) -> str:
        state = self.format_dict
        part = lambda form: self.format_meter(**{**state, "bar_format": form, "ncols": None})
        return bar_line(
            self.desc,
            done=self.n,
            total=self.total or 0,
            others=(part("[{elapsed}<{remaining}]"), *(self.values or (part("{rate_fmt}"),))),
            columns=(state["ncols"] or 80) - 1,
            ascii=state["ascii"],
        )


def bar_line(
    name: str,
    *,
    done: int,
    total: int,
    others: Sequence[str],
    columns: int,
    ascii: bool = False,
) -> str:
    """Returns a line of progress for a terminal that is so many `columns` wide.

    Of `others`, the last ones are left out until the bar itself has room; a long name is cut.
    Where the bar has no room, the count or the share stays, as far as it fits.

    >>> others = ("[01:00<00:50]", "loss 0.25", "64 images/s")
    >>> bar_line("voc", done=40, total=80, others=others, columns=60, ascii=True)
    'voc  50% |##########         | 40/80 [01:00<00:50] loss 0.25'
    >>> bar_line("voc", done=40, total=80, others=others, columns=32, ascii=True)
    'voc  50% |########       | 40/80'
    """
    if len(name) > columns // 4:
        name = f"{name[: max(columns // 4 - 1, 0)]}…"
    share = done / total if total else 0.0
    head = f"{name} {100 * share:3.0f}%"
    for kept in range(len(others), -1, -1):
        times, values = others[: min(kept, 1)], ", ".join(others[1:kept])
        tail = " ".join(filter(None, (f"{done}/{total}", *times, values)))
        room = min(columns - len(f"{head} || {tail}"), WIDEST)
        if room >= NARROWEST:
            bar = ("#" if ascii else "█") * round(share * room)
            return f"{head} |{bar:{room}}| {tail}"
    shorter = (f"{head} {done}/{total}", f"{done}/{total}", f"{100 * share:.0f}%", "")
    return next(line for line in shorter if len(line) <= max(columns, 0))


def measured(values: Mapping[str, float]) -> list[str]:
    """Returns the measurements that a line shows, the most important first.

    >>> measured({"learning_rate": 0.0071, "loss": 0.51234, "images_per_second": 1234.5})
    ['loss 0.5123', '1234 images/s', 'learning rate 0.0071']
    """
    forms = {
        "loss": lambda loss: f"loss {loss:.4g}",
        "images_per_second": lambda n: f"{n:.0f} images/s" if n >= 10 else f"{n:.2g} images/s",
        "learning_rate": lambda rate: f"learning rate {rate:.3g}",
    }
    return [form(values[name]) for name, form in forms.items() if name in values]
