"""Which lines of a description decide a run's parameters."""

from collections.abc import Mapping

TRAJECTORY = (
    *("model", "normalize", "init", "train_data", "transforms", "device_transforms", "loss"),
    *("optimizer", "batch_size", "steps", "seed", "auxiliary_weight", "ema", "task"),
    "accumulate",
)
"""The fields that decide a run's parameters: a workdir belongs to their values."""

UNSAID = {
    "task": "segjax.tasks.semantic.Semantic()",
    "device_transforms": "()",
    "accumulate": "1",
    "shard_state": "False",
    "trackers": "()",
    "evaluation.metrics": "()",
    "train_data.image_dtype": "'uint8'",
    "train_data.mask_colours": "()",
    "eval_data.image_dtype": "'uint8'",
    "eval_data.mask_colours": "()",
    "train_data.objects": "False",
    "eval_data.objects": "False",
    "train_data.classes": "'all'",
    "eval_data.classes": "'all'",
}
"""What a description means that does not have the field, since it was the only choice."""

UNSAID_OF = {
    ("segjax.backbones", "norm"): "segjax.layers.norm.BatchNorm",
    ("segjax.transforms.resize_sides.ResizeSides", "antialias"): "True",
    ("segjax.tasks", "antialias"): "False",
}
"""The same by a field's name and the class, or its package, of the part that has the field."""

ELSEWHERE = ("directory", "download", "max_megapixels")
"""Fields of datasets that say where the same examples lie, or which are refused."""


def said(description: str) -> dict[str, str]:
    """Returns the lines of a description as {path: value}, without those that say nothing new.

    A field that is None, or as `UNSAID` and `UNSAID_OF` have it, means the same as no line.

    >>> said("model = segjax.backbones.vgg.VGG\\nmodel.norm = segjax.layers.norm.BatchNorm")
    {'model': 'segjax.backbones.vgg.VGG'}
    """
    lines = dict(line.split(" = ", 1) for line in description.splitlines() if " = " in line)
    return {path: value for path, value in lines.items() if value not in _unsaid(path, lines)}


def _unsaid(path: str, lines: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the values of a field that mean the same as no line."""
    part, _, name = path.rpartition(".")
    kind = lines.get(part, "")
    usual = [
        value
        for (owner, field), value in UNSAID_OF.items()
        if field == name and f"{kind}.".startswith(f"{owner}.")
    ]
    return ("None", UNSAID.get(path, "None"), *usual)


def trajectory(description: str) -> dict[str, str]:
    """Returns the lines of a description that affect training, as {path: value}.

    Descriptions for people, which `describe` shortens, are not read. A field that is None, or
    `UNSAID`, counts as unset: so a run from before the field was there goes on.
    """
    return {
        path: value
        for path, value in said(description).items()
        if path.split(".")[0] in TRAJECTORY
        and not (path.startswith("train_data.") and path.split(".")[-1] in ELSEWHERE)
    }
