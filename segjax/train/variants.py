"""The experiments of an ablation: which of them are one variant, and whether they compare.

Experiments of one name differ in their seed alone and are one variant.
"""

import re
from collections.abc import Sequence

from segjax.errors import InputError
from segjax.experiment import Experiment, describe

COMPARISON, TABLE = "comparison.html", "comparison.json"
"""Files that stand beside the variants' folders."""


def check_variants(experiments: Sequence[Experiment], where: str) -> None:
    """Raises InputError unless the experiments can be compared; `where` begins each error.

    Raises:
      InputError: two have one name and one seed, or one name and differ in more than the seed;
        a name cannot be a folder's; or they are not evaluated on the same images.
    """
    seen: dict[str, dict[int, list[str]]] = {}
    for experiment in experiments:
        _check_comparable(experiment, experiments[0], where)
        lines = [line for line in _lines(experiment) if not line.startswith("seed = ")]
        others = seen.setdefault(experiment.name, {})
        if experiment.seed in others:
            raise InputError(
                f"{where}: two experiments are named {experiment.name!r} with seed "
                f"{experiment.seed}; give each variant its own name and each repetition its "
                "own seed."
            )
        if others and lines != (first := next(iter(others.values()))):
            differ = next(
                ours for ours, theirs in zip(lines, first, strict=False) if ours != theirs
            )
            raise InputError(
                f"{where}: the experiments named {experiment.name!r} differ in more than the "
                f"seed ({differ}); give each variant its own name."
            )
        others[experiment.seed] = lines


def _check_comparable(experiment: Experiment, first: Experiment, where: str) -> None:
    name = experiment.name
    if not re.fullmatch(r"\w[\w .+-]*", name) or name in (COMPARISON, TABLE):
        raise InputError(
            f"{where}: the name {experiment.name!r} cannot be a folder name; use letters, "
            "digits and _ . + - only."
        )
    ours, theirs = (each.task.scored(each.eval_data) for each in (experiment, first))
    if ours != theirs:
        raise InputError(
            f"{where}: the scores of {name!r} are of {ours}, but those of {first.name!r} are "
            f"of {theirs}; all experiments of a comparison need the same, in the same order."
        )
    same = _evaluated(first)
    differ = [line for line in _evaluated(experiment) if line not in same]
    if differ:
        raise InputError(
            f"{where}: {experiment.name!r} is evaluated on other images than {first.name!r} "
            f"({differ[0]}); all experiments of a comparison need the same eval_data and "
            "evaluation.examples."
        )


def _evaluated(experiment: Experiment) -> list[str]:
    heads = ("eval_data", "evaluation.examples")
    return [line for line in _lines(experiment) if line.startswith(heads)]


def differing_fields(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """Returns for each experiment {path: value} of the fields that are not equal in all."""
    described = [
        dict(line.split(" = ", 1) for line in _lines(e) if " = " in line) for e in experiments
    ]
    paths = dict.fromkeys(path for fields in described for path in fields)
    differing = [
        path
        for path in paths
        if path not in ("name", "seed") and len({fields.get(path) for fields in described}) > 1
    ]
    return [{path: fields.get(path, "–") for path in differing} for fields in described]


def listing(experiments: Sequence[Experiment]) -> str:
    """Returns the variants with their seeds and the fields that differ, as comment lines."""
    by_name: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        by_name.setdefault(experiment.name, []).append(experiment)
    fields = differing_fields([group[0] for group in by_name.values()])
    runs, variants = len(experiments), len(by_name)
    lines = [f"# {runs} run{'s' * (runs > 1)} of {variants} variant{'s' * (variants > 1)}:"]
    for (name, group), differing in zip(by_name.items(), fields, strict=True):
        seeds = ", ".join(str(experiment.seed) for experiment in group)
        lines.append(f"# {name}, seed{'s' * (len(group) > 1)} {seeds}")
        lines += [f"#     {path} = {value}" for path, value in differing.items()]
    return "\n".join([*lines, f"# The first, {experiments[0].name}:"])


def _lines(experiment: Experiment) -> list[str]:
    return describe(experiment).splitlines()
