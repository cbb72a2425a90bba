"""Stage speed: networks beside the same networks in PyTorch, eager and compiled, in turns.

Each process may use a fixed part of the GPU's memory. A row has a network, a size, a precision
and a batch; batches grow until no side has memory left.
"""

import os
import statistics
from collections.abc import Iterator

from accelerator_rows import Clock, Rows, TimeOver
from accelerator_sides import FULL, Sides, median

SIDES = ("segjax", "torch eager", "torch compiled")

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


DETECTORS = (
    # What is asked, precision, batch of 800 × 1344 pixels.
    ("training", "bf16", 8),
    ("inference", "bf16", 8),
    ("training", "tf32", 4),
    ("inference", "tf32", 1),
)
"""Rows of Mask R-CNN, 91 classes and 20 objects an image, behind the first group."""


def names(options) -> list[str]:
    """Returns the rows' names, most wanted first."""
    return [*PEAKS, *_cases(options.smoke)]


def _cases(smoke: bool) -> dict[str, dict]:
    if smoke:
        small = {"model": "small_unet", "classes": 21, "dtype": "bf16", "compile": "aot_eager"}
        small["flops"] = True
        sizes = {"image": [2, 32, 32, 3], "threads": 2}
        kinds = {kind: small | sizes | {"kind": kind} for kind in ("training", "inference")}
        return {
            f"{kind}, U-Net 8 … 32, bf16, 32 × 32, batch 2": case
            for kind, case in kinds.items()
        }
    found = {}
    for place, (kind, dtype, (height, width), times) in enumerate(GROUPS):
        for title, (model, smallest) in NETWORKS.items():
            batch = int(times * smallest)
            name = f"{kind}, {title}, {dtype}, {height} × {width}, batch {batch}"
            image = [batch, height, width, 3]
            found[name] = {"kind": kind, "model": model, "dtype": dtype, "image": image}
            found[name] |= {"classes": 21, "threads": os.cpu_count(), "flops": True}
        if place == 0:
            found |= _detectors()
    return found


def _detectors() -> dict[str, dict]:
    found = {}
    for kind, dtype, batch in DETECTORS:
        name = f"{kind}, Mask R-CNN R-50 FPN, {dtype}, 800 × 1344, batch {batch}"
        found[name] = {"kind": kind, "model": "mask_rcnn", "dtype": dtype, "classes": 91}
        found[name] |= {"image": [batch, 800, 1344, 3], "threads": os.cpu_count()}
    return found


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, results), as long as there is time."""
    cases, last = _cases(options.smoke), 0.0
    if options.torch is None:
        print("speed: no torch found; segjax alone is measured", flush=True)
    with Sides(options.torch, clock) as sides:
        for name in left:
            before = clock.left
            if before < max(LEAST, 0.7 * last):
                return
            case = cases.get(name)
            if case is not None and _is_hopeless(case, cases, rows):
                yield name, {"skipped": "a smaller batch was out of memory on every side"}
                continue
            try:
                if case is None:
                    values = _peak(sides, PEAKS[name], 256 if options.smoke else 8192)
                else:
                    values = _compare(sides, case)
            except TimeOver:
                return
            last = before - clock.left if case else 0.0
            yield name, values


def _peak(sides: Sides, dtype: str, size: int) -> dict:
    """Returns the rate of a matrix product: what the chip can do at most."""
    case = {"kind": "product", "size": size, "dtype": dtype, "threads": os.cpu_count()}
    answers = {name: sides.prepare(name, **case) for name in sides.names}
    sides.in_turns(answers)
    rates = {name: 2e-12 * size**3 / s for name in answers if (s := median(answers[name]))}
    errors = {name: answer for name, answer in answers.items() if "error" in answer}
    return {"size": size, "tflops": rates, **errors}


def _compare(sides: Sides, case: dict) -> dict:
    """Returns what each side took: segjax, torch eager, torch compiled.

    One after the other is prepared, because both choose their algorithms by timing them.
    """
    eager = {key: value for key, value in case.items() if key != "compile"}
    ours = sides.prepare("segjax", **eager)
    result = {"segjax": ours}
    sides.in_turns(result)
    variants = {"torch eager": eager, "torch compiled": {"compile": "inductor", **case}}
    for title, given in variants.items() if "torch" in sides.names else ():
        before = len(ours.get("turns", ()))
        try:
            theirs = result[title] = sides.prepare("torch", **given)
            sides.in_turns({"torch": theirs, "segjax": ours})
        except TimeOver:
            # What is measured is kept; the row is measured again when the command runs again.
            result[title] = {"error": "the time was over"}
            continue
        mine, other = ours.get("turns", [])[before:], median(theirs)
        if mine and other:
            theirs["torch_over_segjax"] = round(other / statistics.median(mine), 3)
    counts = {answer["parameters"] for answer in result.values() if "parameters" in answer}
    same = {"parameters_equal": len(counts) <= 1}
    return {"batch": case["image"][0], **same, **_with_rates(result, case)}


def _with_rates(result: dict, case: dict) -> dict:
    flops = result["segjax"].get("forward_flops")
    times = 3 if case["kind"] == "training" else 1  # Two gradients for each product.
    for answer in result.values():
        seconds = median(answer)
        answer.pop("turns", None)
        if seconds:
            answer["seconds"] = seconds
            answer["images_per_second"] = round(case["image"][0] / seconds, 1)
            if flops:
                answer["tflops"] = round(1e-12 * times * flops / seconds, 2)
    return result


def _is_hopeless(case: dict, cases: dict[str, dict], rows: Rows) -> bool:
    """Whether a smaller batch was too large already, on every side that was there."""
    same = lambda one: {**one, "image": one["image"][1:]}
    for name, other in cases.items():
        if same(other) != same(case) or other["image"][0] >= case["image"][0]:
            continue
        row = rows.find("speed", name)
        found = [row[side] for side in SIDES if side in row] if row else []
        if found and all(answer.get("error") == FULL for answer in found):
            return True
    return False
