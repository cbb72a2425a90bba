"""`explain rates`: which pixels of their receptive field stacked dilated convolutions read."""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segjax.errors import InputError
from segjax.explain import rates_text
from segjax.explain.explained import Explained
from segjax.explain.whole_numbers import whole_number, whole_numbers
from segjax.ops.receptive_field import coverage, design_rates, hdc_gaps, is_dense, is_hdc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 4001
"""Largest side of a field, in pixels."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `rates`."""
    parser = subparsers.add_parser(
        "rates",
        help="which pixels of their field dilated convolutions read: gridding, the HDC rule",
        description="Show which pixels of the receptive field are read by a stack of dilated "
        "convolutions, and whether the rates meet the HDC rule of Wang et al. (2018).",
        epilog='Example: python -m segjax.explain rates 1 2 5 --versus "2 2 2" --out rates.png',
    )
    parser.add_argument("rates", type=int, nargs="+", metavar="RATE", help="first layer first")
    parser.add_argument("--kernel", type=int, default=3, help="side of each kernel (default 3)")
    parser.add_argument(
        "--versus",
        action="append",
        metavar='"RATE ..."',
        help="other rates to compare with; repeat the option for more",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for.

    Raises:
      InputError: `--versus` has no rates; or as `explain_rates`.
      ValueError: as `explain_rates`.
    """
    versus = [_parse(words) for words in arguments.versus or ()]
    return explain_rates(arguments.rates, kernel=arguments.kernel, versus=versus)


def explain_rates(
    rates: Sequence[int], *, kernel: int = 3, versus: Sequence[Sequence[int]] = ()
) -> Explained:
    """Returns gaps, verdicts, field and coverage of dilation rates, and of others beside them.

    Args:
      rates: of the layers, the first layer first.
      kernel: side of each kernel.
      versus: rates to compare with; by default equal rates of the same mean, and the best ones.

    Raises:
      InputError: an argument is not a list of whole numbers, a field is too large, or there
        are too many paths to count.
      ValueError: a rate or the kernel is out of range.
    """
    rates = whole_numbers("rates", rates, example="[1, 2, 5]")
    kernel = whole_number("kernel", kernel)
    others = _lists(versus)
    result = _facts(rates, kernel)
    best = design_rates(len(rates), max(rates), kernel_size=kernel)
    if not others:
        others = [(max(1, round(sum(rates) / len(rates))),) * len(rates), *best]
        others = [other for other in others if _field(other, kernel) <= WIDEST]
    others = [other for other in dict.fromkeys(others) if other != rates]
    facts = {
        **result,
        "suggestions": [] if result["is_dense"] else [list(rates) for rates in best],
        "compared": [_facts(other, kernel) for other in others],
    }
    return Explained(facts, text=text, figure=rates_figure)


def _lists(versus: Any) -> list[tuple[int, ...]]:
    """Returns the lists of rates to compare with."""
    example = "[[2, 2, 2]]"
    if not isinstance(versus, Iterable) or isinstance(versus, str):
        raise InputError(f"versus must be lists of rates, as in {example}, got {versus!r}.")
    return [whole_numbers("each list of versus", other, example=example) for other in versus]


def _parse(words: str) -> tuple[int, ...]:
    try:
        rates = tuple(int(word) for word in words.replace(",", " ").split())
    except ValueError:
        rates = ()
    if not rates:
        raise InputError(f'--versus {words!r} must be whole numbers, as in "2 2 2".')
    return rates


def _field(rates: tuple[int, ...], kernel: int) -> int:
    return 1 + (kernel - 1) * sum(rates)


def _facts(rates: tuple[int, ...], kernel: int) -> dict[str, Any]:
    """Returns the facts about one list of rates."""
    gaps = hdc_gaps(rates, kernel_size=kernel)
    field = _field(rates, kernel)
    if field > WIDEST:
        raise InputError(
            f"Rates {rates_text.listed(rates)} have a field of {field} x {field} pixels, more "
            f"than {WIDEST} x {WIDEST}; give smaller rates."
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


def text(result: Mapping[str, Any]) -> str:
    """Returns the facts as the command prints them."""
    return rates_text.text(result)


def rates_figure(result: Mapping[str, Any]) -> "Figure":
    """Returns the field of the rates beside those of the rates compared, as a figure."""
    from segjax.explain import rates_figure as drawing

    return drawing.fields_figure([result, *result["compared"]])
