"""Stage speed: networks beside the same networks in PyTorch, eager and compiled, in turns.

Both sides keep a part of the card's memory each, so that neither takes it from the other. A row
has a network, a size, a precision and a batch; batches double until no side has memory left.
"""

import os
from collections.abc import Iterator
from functools import partial

from accelerator_rows import Clock, Rows
from accelerator_sides import Sides

LEAST = 40
"""Seconds that must be left for a row to be started."""

NETWORKS = {
    "DeepLab v3 R-50 OS 8": ("deeplab_v3", 16),
    "DeepLab v3+ R-50 OS 16": ("deeplab_v3_plus", 16),
    "U-Net 64 … 1024": ("unet", 16),
    "FCN R-50 OS 8": ("fcn", 16),
    "LR-ASPP MobileNetV3": ("lraspp", 32),
    "FC-DenseNet-103": ("fc_densenet", 4),
    "DeepLab v3 R-101 OS 8": ("deeplab_v3_101", 16),
}
"""The network on both sides, and the smallest batch of 513 × 513 pixels."""

PEAKS = {"peak bf16": "bf16", "peak tf32": "tf32"}
GROUPS = (
    # What is asked, precision, size, times the smallest batch: most wanted first.
    ("training", "bf16", (513, 513), 1),
    ("inference", "bf16", (513, 513), 1),
    ("training", "bf16", (513, 513), 2),
    ("training", "bf16", (512, 1024), 0.5),
    ("training", "tf32", (513, 513), 1),
    ("inference", "bf16", (512, 1024), 0.5),
    ("inference", "tf32", (513, 513), 1),
    ("training", "bf16", (513, 513), 4),
    ("inference", "bf16", (513, 513), 4),
    ("training", "tf32", (512, 1024), 0.5),
    ("inference", "tf32", (512, 1024), 0.5),
    ("training", "bf16", (513, 513), 8),
    ("inference", "bf16", (513, 513), 16),
    ("training", "bf16", (513, 513), 16),
)


def names(options) -> list[str]:
    """Returns the rows' names, most wanted first."""
    return [*PEAKS, *_cases(options.smoke)]


def _cases(smoke: bool) -> dict[str, dict]:
    if smoke:
        small = {"model": "small_unet", "classes": 21, "dtype": "bf16", "compile": "aot_eager"}
        sizes = {"image": [2, 32, 32, 3], "threads": 2}
        kinds = {kind: small | sizes | {"kind": kind} for kind in ("training", "inference")}
        return {
            f"{kind}, U-Net 8 … 32, bf16, 32 × 32, batch 2": case
            for kind, case in kinds.items()
        }
    found = {}
    for kind, dtype, (height, width), times in GROUPS:
        for title, (model, smallest) in NETWORKS.items():
            batch = int(times * smallest)
            name = f"{kind}, {title}, {dtype}, {height} × {width}, batch {batch}"
            image = [batch, height, width, 3]
            found[name] = {"kind": kind, "model": model, "dtype": dtype, "image": image}
            found[name] |= {"classes": 21, "threads": os.cpu_count()}
    return found


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, results), as long as there is time."""
    cases = _cases(options.smoke)
    if options.torch is None:
        print("speed: no torch found; segjax alone is measured", flush=True)
    with Sides(options.torch, clock) as sides:
        for name in left:
            if clock.left < LEAST:
                return
            case = cases.get(name)
            if case is not None and _is_hopeless(name, case, rows):
                yield name, {"skipped": "half this batch was out of memory on every side"}
                continue
            if case is None:
                size = 256 if options.smoke else 8192
                values = sides.measure(partial(_peak, sides, PEAKS[name], size))
            else:
                values = sides.measure(partial(_compare, sides, case))
            if values is None:
                return
            yield name, values


def _peak(sides: Sides, dtype: str, size: int) -> dict:
    """Returns the rate of a matrix product: what the chip can do at most."""
    case = {"kind": "product", "size": size, "dtype": dtype, "threads": os.cpu_count()}
    both = {"segjax": sides.segjax} | ({"torch": sides.torch} if sides.torch else {})
    for side in both.values():
        sides.answer(side, **case)
    seconds = sides.in_turns(*both.values())
    rates = [2 * size**3 / s / 1e12 for s in seconds]
    return {"size": size, "tflops": dict(zip(both, rates, strict=True))}


def _compare(sides: Sides, case: dict) -> dict:
    """Returns what both sides took; torch compiles while segjax does, and runs eager last."""
    torch, ours = sides.torch, sides.segjax
    eager = {key: value for key, value in case.items() if key != "compile"}
    ours.tell(**eager, flops=True)
    compiled = sides.answer(torch, **{"compile": "inductor", **case}) if torch else None
    result = {"segjax": sides.answer(ours)}
    if torch:
        result["torch compiled"] = _timed(sides, compiled, result)
        result["torch eager"] = _timed(sides, sides.answer(torch, **eager), result)
    else:
        _timed(sides, {"error": "no torch"}, result)
    return {"batch": case["image"][0], **_with_rates(result, case)}


def _timed(sides: Sides, answer: dict, result: dict) -> dict:
    """Times torch's variant and segjax in turns; segjax keeps the better of its medians."""
    answers = {"torch": answer, "segjax": result["segjax"]}
    both = [name for name, said in answers.items() if "error" not in said]
    taken = sides.in_turns(*(getattr(sides, name) for name in both))
    seconds = dict(zip(both, taken, strict=True))
    if "torch" in seconds:
        answer["seconds"] = seconds["torch"]
    if "segjax" in seconds:
        ours = result["segjax"]
        ours["seconds"] = min(seconds["segjax"], ours.get("seconds", seconds["segjax"]))
    if len(seconds) == 2:
        answer["torch_over_segjax"] = round(seconds["torch"] / seconds["segjax"], 3)
    return answer


def _with_rates(result: dict, case: dict) -> dict:
    flops = result["segjax"].get("forward_flops")
    times = 3 if case["kind"] == "training" else 1  # Back through both factors of each product.
    for answer in result.values():
        if "seconds" in answer:
            answer["images_per_second"] = round(case["image"][0] / answer["seconds"], 1)
            if flops:
                answer["tflops"] = round(times * flops / answer["seconds"] / 1e12, 2)
    return result


def _is_hopeless(name: str, case: dict, rows: Rows) -> bool:
    """Whether half the batch was too large already, on every side that was there."""
    batch = case["image"][0]
    row = rows.find("speed", name.replace(f"batch {batch}", f"batch {batch // 2}"))
    if row is None:
        return False
    if "skipped" in row:
        return True
    found = [row[side] for side in ("segjax", "torch eager", "torch compiled") if side in row]
    return bool(found) and all(answer.get("error") == "out of memory" for answer in found)
