"""The text of `explain rates`: field, verdicts, gaps and coverage of lists of rates."""

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 92
"""Largest number of characters in a line."""
LINES = 6
"""Largest number of lines for the coverage of one axis."""


def text(result: Mapping[str, Any]) -> str:
    """Returns the facts as the command prints them."""
    kernel, field = result["kernel_size"], result["field"]
    rates = abbreviated(result["rates"])
    seen = "every pixel" if result["is_dense"] else share(result)
    formula = f"1 + ({kernel} - 1) * ({' + '.join(map(str, result['rates']))}) = {field}"
    lines = [
        f"Rates {rates}, kernels {kernel} x {kernel}: an output reads {seen} of its field.",
        "",
        f"  field        {field} x {field}"
        + (f", where {formula}" if len(formula) < 60 else ""),
        f"  pixels read  {result['pixels_read']} of {result['pixels']} ({share(result)})",
        f"  dense        {_yes(result['is_dense'])}: {_why_dense(result)}",
        f"  HDC rule     {_yes(result['is_hdc'])}: {_why_hdc(result)}",
    ]
    if result["is_hdc"] != result["is_dense"]:
        lines.append(
            "  The two differ, because the HDC rule is meant for rates that increase from 1."
        )
    lines += ["", *_gaps(result), "", *_coverage(result)]
    for best in result["suggestions"]:
        lines += [
            "",
            f"Better: {abbreviated(best)}, the largest field without holes for this number of",
            f"layers and rates up to {max(result['rates'])}.",
        ]
    return "\n".join([*lines, "", *_table([result, *result["compared"]])])


def _why_dense(result: Mapping[str, Any]) -> str:
    """Returns the reason for `is_dense`: no rate may exceed the field of the smaller rates."""
    if result["is_dense"]:
        return "no rate is larger than the field of the smaller rates."
    field = 1
    for rate in sorted(result["rates"]):
        if rate > field:
            break
        field += (result["kernel_size"] - 1) * rate
    if field == 1:
        return f"no rate is below {rate}, so the pixel next to a corner is never read."
    return f"rate {rate} skips pixels, because the smaller rates have a field of only {field}."


def _why_hdc(result: Mapping[str, Any]) -> str:
    """Returns the reason for `is_hdc`."""
    gaps, kernel, factor = result["gaps"], result["kernel_size"], result["common_factor"]
    if len(gaps) > 1 and gaps[1] > kernel:
        return f"M_2 = {gaps[1]} is larger than the kernel's {kernel}."
    rule = f"M_2 = {gaps[1]} <= {kernel}" if len(gaps) > 1 else "a single layer has no M_2"
    if factor > 1:
        return f"{rule}, but {factor} divides all rates, so only a lattice is read."
    return f"{rule}, and the rates have no common factor."


def _gaps(result: Mapping[str, Any]) -> list[str]:
    """Returns M_i below the rates, a few layers for each line."""
    lines = [
        "Gaps of Wang et al. (2018): M_n = r_n,",
        "M_i = max(M_(i+1) - 2 r_i, 2 r_i - M_(i+1), r_i)",
    ]
    rows = list(zip(result["rates"], result["gaps"], strict=True))
    width = max(3, max(len(str(number)) for row in rows for number in row) + 1)
    many = (WIDTH - 14) // width
    for first in range(0, len(rows), many):
        part = rows[first : first + many]
        columns = [(first + i, *row) for i, row in enumerate(part, start=1)]
        for name, numbers in zip(
            ("layer i", "rate r_i", "gap M_i"), zip(*columns, strict=True), strict=True
        ):
            lines.append(
                f"  {name:10}" + "".join(str(number).rjust(width) for number in numbers)
            )
    return lines


def _coverage(result: Mapping[str, Any]) -> list[str]:
    """Returns the paths of each pixel of one axis, or for a long axis which pixels are read."""
    paths = result["coverage"]
    head = "Paths from each pixel of one axis to the output (in 2-D: the product of two axes)"
    words = " ".join(str(count) for count in paths)
    if len(words) <= WIDTH:
        return [head, "  " + words]
    if len(paths) > LINES * WIDTH:
        return [head, f"  (not printed for more than {LINES * WIDTH} pixels; use --json)"]
    marks = "".join("#" if count else "." for count in paths)
    lines = [marks[i : i + WIDTH] for i in range(0, len(marks), WIDTH)]
    return [
        "Pixels of one axis of the field (# read, . never read)",
        *("  " + line for line in lines),
    ]


def _table(lists: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("rates", "field", "pixels read", "dense", "HDC rule")]
    for facts in lists:
        field = facts["field"]
        rows.append(
            (
                abbreviated(facts["rates"]),
                f"{field} x {field}",
                share(facts),
                _yes(facts["is_dense"]),
                _yes(facts["is_hdc"]),
            )
        )
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return ["Compared"] + [
        "  " + "   ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def listed(rates: Sequence[int]) -> str:
    """Returns all rates in words."""
    return " ".join(str(rate) for rate in rates)


def abbreviated(rates: Sequence[int], *, letters: int = 36) -> str:
    """Returns the rates in at most so many characters.

    >>> abbreviated([1, 2, 5]), abbreviated([10, 20, 30], letters=8)
    ('1 2 5', '10 ...')
    """
    words = listed(rates)
    if len(words) <= letters:
        return words
    return words[: letters - 4].rsplit(" ", 1)[0] + " ..."


def share(facts: Mapping[str, Any]) -> str:
    """Returns the percentage of pixels read, which is 100 only if none is missed."""
    if facts["is_dense"]:
        return "100 %"
    return f"{min(99.9, 100 * facts['share_read']):.3g} %"


def _yes(verdict: bool) -> str:
    return "yes" if verdict else "no"
