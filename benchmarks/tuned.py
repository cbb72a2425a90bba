"""Times a program with the default forms of its convolutions and with those of `--tune`.

    python benchmarks/tuned.py training --only U-Net

The cases are those of `speed.py`; `--only` takes the first whose name contains its text. First
each form of each shape is timed, as `segjax.launch --tune` does; times that the cache has for
this machine are taken from there, so a second run only compares. Then both programs take
turns in one process. Nothing else should run.
"""

import argparse
import os
import statistics
import time

import segjax_side
import speed

from segjax import restart
from segjax.data.cache import cache_root
from segjax.ops.conv_bounds import default_form
from segjax.ops.forms import chosen, noted
from segjax.parallel import cluster
from segjax.parallel.programs import keep_programs
from segjax.train.form_times import KeptTimes, timed
from segjax.train.tune import fastest, with_choice


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("training", "inference"))
    parser.add_argument("--only", default="", help="the case whose name contains this")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    restart.restart_with(restart.missing_variables())  # As the commands do.
    cluster.tune_cpu()
    keep_programs(cache_root)
    cases = speed.cases(arguments.what)
    name = next((name for name in cases if arguments.only in name), None)
    if name is None:
        raise SystemExit(f"error: --only {arguments.only}: the cases are {', '.join(cases)}.")
    load = os.getloadavg()[0]
    usual, counts = prepared(cases[name], {})
    kept, began = KeptTimes(), time.perf_counter()
    unknown = sum(kept.get(form_case) is None for form_case in counts)
    found = timed(counts, kept)
    spent = time.perf_counter() - began
    names = {str(form_case): fastest(form_case, times) for form_case, times in found.items()}
    changed = [c for c in found if names[str(c)] != default_form(c)]
    saved = sum(
        n * (found[c][default_form(c)] - found[c][names[str(c)]]) for c, n in counts.items()
    )
    print(
        f"{arguments.what}: {name}; load at the start {load:.1f}; {unknown} of {len(found)} "
        f"shapes timed in {spent:.0f} s; {len(changed)} take another form, {saved:.3f} s less "
        "by their times"
    )
    tuned, _ = prepared(cases[name], names)
    turns = [(seconds(usual), seconds(tuned)) for _ in range(arguments.turns)]
    default, with_table = (statistics.median(side) for side in zip(*turns, strict=True))
    ratios = sorted(one / other for one, other in turns)
    print(
        f"default {default:.3f} s, tuned {with_table:.3f} s, default ÷ tuned "
        f"{default / with_table:.3f} (turns {ratios[0]:.3f} … {ratios[-1]:.3f}); median of "
        f"{arguments.turns}"
    )


def prepared(case, names):
    """Returns the work under a table, run once, and how often each shape is in its program."""
    counts = {}

    class Noting(segjax_side.Program):
        def __init__(self, function, *operands):
            if not names:
                with noted() as found:
                    super().__init__(function, *operands)
                counts.update(with_choice(found))
            else:
                super().__init__(function, *operands)

    usual, segjax_side.Program = segjax_side.Program, Noting
    try:
        with chosen(names):
            work, _ = segjax_side.prepared(case)
    finally:
        segjax_side.Program = usual
    return work, counts


def seconds(work):
    return segjax_side.timed(work, 1)


if __name__ == "__main__":
    main()
