"""`--seeds 3` and `--seeds 4,7`: the seeds with which every variant is trained."""

from segjax.errors import InputError

MOST = 1000
"""Seeds of a variant."""


def parsed_seeds(text: str, *, first: int) -> list[int]:
    """Returns the seeds that a text means: so many from `first` on, or those that it lists.

    >>> parsed_seeds("3", first=0), parsed_seeds("4,7", first=0), parsed_seeds("5,", first=0)
    ([0, 1, 2], [4, 7], [5])

    Raises:
      InputError: it is neither, or a seed is repeated or out of range.
    """
    listed = "," in text
    parts = [part.strip() for part in text.removesuffix(",").split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(
            f"--seeds {text}: write a number of seeds, such as 3, or the seeds themselves, "
            "such as 0,4,7."
        )
    numbers = [int(part) for part in parts]
    if not listed and not 1 <= numbers[0] <= MOST:
        raise InputError(
            f"--seeds {text}: the number of seeds must lie between 1 and {MOST}; for one seed "
            f"alone write --seeds {text},"
        )
    seeds = numbers if listed else list(range(first, first + numbers[0]))
    if repeated := [seed for i, seed in enumerate(seeds) if seed in seeds[:i]]:
        raise InputError(f"--seeds {text}: {repeated[0]} is there twice; leave one out.")
    if max(seeds) >= 2**32:
        raise InputError(f"--seeds {text}: seed {max(seeds)} must be below 2**32 = {2**32}.")
    return seeds
