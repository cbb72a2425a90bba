"""`explain rates`: whether stacked dilated layers read every pixel of their field."""

import argparse
import math
import pathlib
from typing import Any

from segjax.errors import InputError
from segjax.explain import rates_text
from segjax.ops.receptive_field import coverage, design_rates, hdc_gaps, is_dense, is_hdc

WIDEST = 4001
"""Pixels of a side of a field, at most."""


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
    gaps = hdc_gaps(rates, kernel_size=kernel)
    field = _field(rates, kernel)
    if field > WIDEST:
        raise InputError(
            f"Rates {rates_text.listed(rates)} have a field of {field} pixels a side; "
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
    return rates_text.text(result)


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws the coverage of the rates' field beside that of the rates compared.

    Raises:
      InputError: the file cannot be written.
    """
    from segjax.explain import rates_figure

    rates_figure.draw([result, *result["compared"]], path)
