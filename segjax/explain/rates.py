"""`explain rates`: whether stacked dilated layers read every pixel of their field."""

import argparse
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from segjax.errors import InputError

WIDEST = 4001
"""Pixels of a side of a field, at most."""
WIDTH = 92
"""Letters in a line of text."""
LINES = 6
"""Lines that the coverage of one axis may take."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `rates`."""
    parser = subparsers.add_parser(
        "rates",
        help="which pixels of their field dilated layers see: gridding and the HDC rule",
        description="Show which pixels of the receptive field reach an output of dilated "
        "convolutions on top of one another, and the rule of Wang et al. (2018) for them.",
        epilog='Example: python -m segjax.explain rates 1 2 5 --versus "2 2 2" --out rates.png',
    )
    parser.add_argument("rates", type=int, nargs="+", metavar="RATE", help="first layer first")
    parser.add_argument("--kernel", type=int, default=3, help="taps of a kernel (default 3)")
    parser.add_argument(
        "--versus",
        action="append",
        metavar='"RATE ..."',
        help="rates to compare with; may be given again",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns gaps, verdicts, field and coverage of the rates, and of those to compare with.

    Raises:
      InputError: `--versus` holds no rates, or a field or its paths are too many.
      ValueError: a rate or the kernel is out of range.
    """
    from segjax.ops.receptive_field import design_rates

    rates, kernel = tuple(arguments.rates), arguments.kernel
    result = _facts(rates, kernel)
    best = design_rates(len(rates), max(rates), kernel_size=kernel)
    if arguments.versus:
        others = [_parse(words) for words in arguments.versus]
    else:
        others = [(max(1, round(sum(rates) / len(rates))),) * len(rates), *best]
        others = [other for other in others if _field(other, kernel) <= WIDEST]
    others = [other for other in dict.fromkeys(others) if other != rates]
    return {
        **result,
        "suggestions": [] if result["is_dense"] else [list(rates) for rates in best],
        "compared": [_facts(other, kernel) for other in others],
    }


def _parse(words: str) -> tuple[int, ...]:
    try:
        rates = tuple(int(word) for word in words.replace(",", " ").split())
    except ValueError:
        rates = ()
    if not rates:
        raise InputError(f'--versus {words!r} holds no rates; write them as in "2 2 2".')
    return rates


def _field(rates: tuple[int, ...], kernel: int) -> int:
    return 1 + (kernel - 1) * sum(rates)


def _facts(rates: tuple[int, ...], kernel: int) -> dict[str, Any]:
    """Returns what is to be said about one list of rates."""
    from segjax.ops.receptive_field import coverage, hdc_gaps, is_dense, is_hdc

    gaps = hdc_gaps(rates, kernel_size=kernel)
    field = _field(rates, kernel)
    if field > WIDEST:
        raise InputError(
            f"Rates {_listed(rates)} have a field of {field} pixels a side; "
            f"give smaller ones, up to {WIDEST}."
        )
    if kernel ** len(rates) >= 2**63:
        raise InputError(f"{len(rates)} layers have more than 2**63 paths; give fewer rates.")
    paths = coverage(rates, kernel_size=kernel)
    used = int((paths > 0).sum())
    return {
        "rates": list(rates),
        "kernel_size": kernel,
        "gaps": list(gaps),
        "common_factor": math.gcd(*rates),
        "is_hdc": is_hdc(rates, kernel_size=kernel),
        "is_dense": is_dense(rates, kernel_size=kernel),
        "field": field,
        "coverage": paths.tolist(),
        "pixels": field**2,
        "pixels_read": used**2,
        "share_read": used**2 / field**2,
    }


def text(result: dict[str, Any]) -> str:
    """Returns the result as a student reads it."""
    kernel, field = result["kernel_size"], result["field"]
    rates = shortened(result["rates"])
    seen = "every pixel" if result["is_dense"] else share(result)
    formula = f"1 + ({kernel} - 1) * ({' + '.join(map(str, result['rates']))}) = {field}"
    lines = [
        f"Rates {rates}, kernels {kernel} x {kernel}: an output reads {seen} of its field.",
        "",
        f"  field        {field} x {field}"
        + (f", a side {formula}" if len(formula) < 60 else ""),
        f"  pixels read  {result['pixels_read']} of {result['pixels']} ({share(result)})",
        f"  dense        {_yes(result['is_dense'])}: {_why_dense(result)}",
        f"  HDC rule     {_yes(result['is_hdc'])}: {_why_hdc(result)}",
    ]
    if result["is_hdc"] != result["is_dense"]:
        lines.append("  The two differ: the rule is meant for rates that rise from 1.")
    lines += ["", *_gaps(result), "", *_coverage(result)]
    for best in result["suggestions"]:
        lines += [
            "",
            f"Better: {shortened(best)}, the largest field without holes for as many layers",
            f"and rates up to {max(result['rates'])}.",
        ]
    return "\n".join([*lines, "", *_table([result, *result["compared"]])])


def _why_dense(result: dict[str, Any]) -> str:
    """Returns the reason of `is_dense`: a rate may not exceed the field of the smaller ones."""
    if result["is_dense"]:
        return "no rate is larger than the field of the smaller ones."
    field = 1
    for rate in sorted(result["rates"]):
        if rate > field:
            break
        field += (result["kernel_size"] - 1) * rate
    if field == 1:
        return f"no rate is below {rate}, so the pixel next to a corner's is never read."
    return f"rate {rate} jumps over pixels: the smaller ones together see only {field}."


def _why_hdc(result: dict[str, Any]) -> str:
    """Returns the reason of `is_hdc`."""
    gaps, kernel, factor = result["gaps"], result["kernel_size"], result["common_factor"]
    if len(gaps) > 1 and gaps[1] > kernel:
        return f"M_2 = {gaps[1]} is larger than the kernel's {kernel}."
    rule = f"M_2 = {gaps[1]} <= {kernel}" if len(gaps) > 1 else "a single layer has no M_2"
    if factor > 1:
        return f"{rule}, but {factor} divides all rates: it reads a lattice."
    return f"{rule}, and the rates have no common factor."


def _gaps(result: dict[str, Any]) -> list[str]:
    """Returns M_i below the rates, a few layers to a line."""
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


def _coverage(result: dict[str, Any]) -> list[str]:
    """Returns the paths of each pixel of one axis, or for a long one which pixels are read."""
    paths = result["coverage"]
    head = "Paths from each pixel of one axis to the output (in 2-D: the product of two axes)"
    words = " ".join(str(count) for count in paths)
    if len(words) <= WIDTH:
        return [head, "  " + words]
    if len(paths) > LINES * WIDTH:
        return [head, f"  (not printed beyond {LINES * WIDTH} pixels; --json has them)"]
    marks = "".join("#" if count else "." for count in paths)
    lines = [marks[i : i + WIDTH] for i in range(0, len(marks), WIDTH)]
    return [
        "Pixels of one axis of the field: # read, . never read",
        *("  " + line for line in lines),
    ]


def _table(lists: Sequence[dict[str, Any]]) -> list[str]:
    rows = [("rates", "field", "pixels read", "dense", "HDC rule")]
    for facts in lists:
        field = facts["field"]
        rows.append(
            (
                shortened(facts["rates"]),
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


def _listed(rates: Sequence[int]) -> str:
    return " ".join(str(rate) for rate in rates)


def shortened(rates: Sequence[int], *, letters: int = 36) -> str:
    """Returns the rates in so many letters.

    >>> shortened([1, 2, 5]), shortened([10, 20, 30], letters=8)
    ('1 2 5', '10 ...')
    """
    words = _listed(rates)
    if len(words) <= letters:
        return words
    return words[: letters - 4].rsplit(" ", 1)[0] + " ..."


def share(facts: dict[str, Any]) -> str:
    """Returns the pixels read in per cent; 100 only where none is missed."""
    if facts["is_dense"]:
        return "100 %"
    return f"{min(99.9, 100 * facts['share_read']):.3g} %"


def _yes(verdict: bool) -> str:
    return "yes" if verdict else "no"


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws the coverage of the rates' field beside that of the rates compared.

    Raises:
      InputError: the file cannot be written.
    """
    from segjax.explain import rates_figure

    rates_figure.draw([result, *result["compared"]], path)
