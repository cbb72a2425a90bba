"""What a topic of `explain` found, for a command and for a notebook."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Explained(dict[str, Any]):
    """The facts that `--json` prints, as a dict with the command's text as its `repr`.

    >>> from segjax.explain.rates import explain_rates
    >>> found = explain_rates([1, 2, 5])
    >>> found["field"]
    17
    >>> print(str(found).splitlines()[0])
    Rates 1 2 5, kernels 3 x 3: an output reads every pixel of its field.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        *,
        text: Callable[[Any], str],
        figure: Callable[[Any], "Figure"],
    ):
        super().__init__(facts)
        self._text, self._figure = text, figure

    def __repr__(self) -> str:
        return self._text(self)

    def figure(self) -> "Figure":
        """Returns the figure that `--out` writes, for `savefig` or as a notebook cell's result.

        Raises:
          InputError: the facts cannot be drawn.
        """
        return self._figure(self)
