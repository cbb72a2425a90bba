"""The text of `explain model`: a table of layers, totals and costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDEST = 34
"""Largest number of characters of a module's path in the table."""

LEGEND = (
    "field: largest receptive field of any position, in pixels, for an image without borders.",
    "+image: the position also sees the pooled image. ?: unknown, as an operation cannot be",
    "followed. Parameters include those of the norm after the layer. Multiply-adds include",
    "those on padding; a transposed convolution's are counted without the inserted zeros.",
)


def words(result: Mapping[str, Any]) -> str:
    """Returns the table, the totals and the costs, in lines of fewer than 110 characters."""
    blocks = [_heading(result), _table(result), _totals(result)]
    if "compiled" in result:
        blocks.append(_costs(result["compiled"]))
    if "effective" in result:
        blocks.append(_effective(result["effective"]))
    return "\n\n".join(blocks)


def _heading(result: Mapping[str, Any]) -> str:
    size = _by([*result["size"], result["channels"]])
    return f"{result['name']}: {result['model']} on one image of {size}"


def _table(result: Mapping[str, Any]) -> str:
    head = ["module", "operation", "output", "parameters", "mult-adds", "field", "stride"]
    rows = [
        [
            _short(layer["path"]) or f"({result['model']})",
            layer["operation"],
            _by(layer["shape"]),
            f"{layer['parameters']:,}" if layer["parameters"] else "-",
            _amount(layer["multiply_adds"]) if layer["multiply_adds"] else "-",
            field_words(layer),
            _pair_words(layer["stride"]),
        ]
        for layer in result["layers"]
    ]
    return "\n".join(_aligned([head, *rows], left=2))


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Returns lines of columns: the first `left` are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _short(path: str) -> str:
    return path if len(path) <= WIDEST else "..." + path[3 - WIDEST :]


def field_words(facts: Mapping[str, Any]) -> str:
    """Returns a field as in the table: `27`, `27x13`, `27+image`, `image` or `?`.

    >>> field_words({"field": [27, 27], "image": True, "unknown": False})
    '27+image'
    """
    if facts["unknown"]:
        return "?"
    size = _pair_words(facts["field"])
    return "image" if size == "-" else f"{size}{'+image' if facts['image'] else ''}"


def _pair_words(values: Sequence[float | None]) -> str:
    if None in values:
        return "-"
    parts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return parts[0] if len(set(parts)) == 1 else "x".join(parts)


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _amount(number: float) -> str:
    """Returns a count with a unit: `570.9 M`.

    >>> _amount(570_949_632), _amount(1234)
    ('570.9 M', '1.2 k')
    """
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 10**power:
            return f"{number / 10**power:.1f} {letter}"
    return str(int(number))


def _totals(result: Mapping[str, Any]) -> str:
    unused = sum(result["unused_parameters"].values())
    training = f", of which {unused:,} are used in training only" if unused else ""
    logits, answer = result["logits"], result["answer"]
    return "\n".join(
        [
            f"parameters      {result['parameters']:,}{training}",
            f"multiply-adds   {result['multiply_adds']:,} for one image",
            f"logits          {_by(logits['shape'])}, before upsampling: {_sees(logits)}",
            f"output          {_by(answer['shape'])}: {_sees(answer)}",
            "",
            *LEGEND,
        ]
    )


def _sees(facts: Mapping[str, Any]) -> str:
    short = field_words(facts)
    if short in ("?", "image"):
        return {"?": "field not known", "image": "sees the whole image"}[short]
    rows, columns = facts["field"]
    whole = " and the pooled image" if facts["image"] else ""
    return f"field {rows} x {columns}{whole}, stride {_pair_words(facts['stride'])}"


def _costs(compiled: Mapping[str, Any]) -> str:
    step, one = compiled["training_step"], compiled["inference"]
    at = f", output stride {one['output_stride']}" if one["output_stride"] else ""
    head = ["XLA, each device", "GFLOP", "arguments", "output", "temporary", "peak", "compiled"]
    rows = [
        [f"training step, batch {step['batch_size']}", *_cost_cells(step)],
        [f"inference, 1 image{at}", *_cost_cells(one)],
    ]
    note = (
        f"For {compiled['devices']}; memory in GiB. XLA counts the FLOP of its own program:\n"
        "on a CPU, Winograd and skipped taps need fewer than two for each multiply-add."
    )
    return "\n".join([*_aligned([head, *rows], left=1), note])


def _cost_cells(cost: Mapping[str, float]) -> list[str]:
    keys = ("argument_bytes", "output_bytes", "temporary_bytes", "peak_bytes")
    memory = [f"{cost[key] / 2**30:.3f}" for key in keys]
    return [f"{cost['flops'] / 1e9:,.1f}", *memory, f"{cost['seconds']:.1f} s"]


def _effective(effective: Mapping[str, Any]) -> str:
    head = ["effective field", "theoretical, centre", "95 % within", "50 % within"]
    rows = [
        [
            shown_name(field),
            (_by(field["box"][2:]) if field["box"] else "?") + "+image" * field["image"],
            _by([field["most"]] * 2),
            _by([field["half"]] * 2),
        ]
        for field in effective["fields"]
    ]
    notes = [
        "Sides of the squares with 95 % and 50 % of the gradient; mean of "
        f"{effective['networks']} random networks."
    ]
    if any(
        field["box"] and field["box"][2:] != field["largest"] for field in effective["fields"]
    ):
        notes += [
            "The centre reads fewer pixels than the table's field: after upsampling, positions",
            "have different windows, and the table has the largest.",
        ]
    return "\n".join([*_aligned([head, *rows], left=1), *notes])


def shown_name(field: Mapping[str, Any]) -> str:
    """Returns the name of a map for people: the JSON calls the output "answer"."""
    return "output" if field["of"] == "answer" else field["of"]
