"""Stage operations: every form of an operation, beside the primitive and PyTorch's (cuDNN).

What `segjax.ops` takes on this platform is "segjax"; the other columns are forms that it could
take. The CRF runs beside pydensecrf on the host, where that is installed.
"""

import os
import time
from collections.abc import Iterator

import numpy as np
from accelerator_rows import Clock, Rows, TimeOver
from accelerator_sides import Sides, median
from crf_case import crf_case

BATCH = 16
LEAST = 15
CRF = {False: ((375, 500), 21), True: ((64, 80), 5)}
"""Size and classes of the CRF's image; with tiny settings (True) a small one."""

SPREAD = {"stride": 2, "padding": 1}
CONVOLUTIONS = {
    "1×1, 1024 → 256, 65²": ((65, 1024), (1, 1, 1024, 256), {}),
    "3×3, 64 → 64, 129²": ((129, 64), (3, 3, 64, 64), {"padding": 1}),
    "3×3, 256 → 256, 65²": ((65, 256), (3, 3, 256, 256), {"padding": 1}),
    "3×3 /2, 128 → 128, 129²": ((129, 128), (3, 3, 128, 128), {"padding": 1, "stride": 2}),
    "3×3 rate 2, 256 → 256, 65²": ((65, 256), (3, 3, 256, 256), {"padding": 2, "dilation": 2}),
    "3×3 rate 4, 512 → 512, 65²": ((65, 512), (3, 3, 512, 512), {"padding": 4, "dilation": 4}),
    "3×3 rate 12, 2048 → 256, 65²": (
        (65, 2048),
        (3, 3, 2048, 256),
        {"padding": 12, "dilation": 12},
    ),
    "3×3 rate 36, 2048 → 256, 65²": (
        (65, 2048),
        (3, 3, 2048, 256),
        {"padding": 36, "dilation": 36},
    ),
    # Eight of the nine taps read nothing but padding.
    "3×3 rate 36, 2048 → 256, 33²": (
        (33, 2048),
        (3, 3, 2048, 256),
        {"padding": 36, "dilation": 36},
    ),
    "3×3 in 32 groups, 256, 65²": ((65, 256), (3, 3, 8, 256), {"padding": 1, "groups": 32}),
    "depthwise 3×3, 960, 65²": ((65, 960), (3, 3, 1, 960), {"padding": 1, "groups": 960}),
    "depthwise 3×3 rate 12, 960, 65²": (
        (65, 960),
        (3, 3, 1, 960),
        {"padding": 12, "dilation": 12, "groups": 960},
    ),
}
"""(side, channels) of the input, kernel, options."""

TRANSPOSED = {
    "transposed 2×2 /2, 128 → 64, 64²": ((64, 128), (2, 2, 64, 128), {"stride": 2}),
    "transposed 3×3 /2, 80 → 80, 64²": ((64, 80), (3, 3, 80, 80), {"stride": 2}),
    "transposed 4×4 /2, 64 → 64, 64²": ((64, 64), (4, 4, 64, 64), SPREAD),
    "transposed 16×16 /8, 21, 64²": ((64, 21), (16, 16, 21, 21), {"stride": 8, "padding": 4}),
}
OTHERS = {
    "max-pool 3 /2, 64, 257²": {
        "name": "max_pool",
        "x": (257, 64),
        "options": {"window": 3, "stride": 2, "padding": 1},
        "forms": ("reduce_window",),
    },
    "max-pool 2 /2, 256, 129²": {
        "name": "max_pool",
        "x": (129, 256),
        "options": {"window": 2, "stride": 2, "padding": 0},
        "forms": ("reduce_window",),
    },
    "bilinear × 8, 21, 65²": {
        "name": "resize",
        "x": (65, 21),
        "options": {"size": [513, 513]},
        "forms": (),
    },
}
ROI_ALIGN = {
    "RoIAlign 7×7, 4096 boxes, 256, 200²": {"size": 7, "boxes": 4096},
    "RoIAlign 14×14, 1024 boxes, 256, 200²": {"size": 14, "boxes": 1024},
}
"""Bins and boxes of all images; the map has stride 4."""

ORDER = (("bf16", True), ("bf16", False), ("tf32", True), ("tf32", False), ("f32", True))
"""(precision, with gradients), most wanted first."""


def names(options) -> list[str]:
    """Returns the rows' names, most wanted first."""
    (height, width), classes = CRF[options.smoke]
    crf = f"dense CRF, 10 rounds, {classes} classes, {height} × {width}"
    return [*_cases(options.smoke), crf]


def forms_of(kind: str, x: tuple[int, int], options: dict, *, cpu: bool) -> tuple[str, ...]:
    """Returns the forms that a convolution could take, beside the one that segjax takes.

    On GPUs that one is the primitive, but for taps that read nothing but padding. There taps
    and Winograd took 1.5 to 7 times as long as it for undilated kernels (H200), and what CPUs
    take ended XLA's compiler: they are not tried again.
    """
    if kind == "conv_transpose2d":
        return ("spread", "tiles") if cpu else ("tiles",)
    kernel, groups = options["kernel"], options.get("groups", 1)
    rate = options.get("dilation", 1)
    dead = rate * (kernel[0] // 2) >= x[0]
    plain = ("primitive",) if cpu or dead else ()
    if groups == kernel[3]:
        return (*plain, "depthwise", *(("as_on_cpu",) if cpu else ()))
    taps = ("by_taps",) if groups == 1 and (cpu or rate > 1) else ()
    winograd = cpu and kernel[0] == 3 and groups == 1 and options.get("stride", 1) == 1
    more = ("as_on_cpu", *(("winograd",) if winograd else ())) if cpu else ()
    return (*plain, *taps, *more)


def _cases(smoke: bool) -> dict[str, dict]:
    batch, shrink = (1, 16) if smoke else (BATCH, 1)
    single = {
        title: {
            "name": kind,
            "x": x,
            "options": {"kernel": list(kernel), **options},
            "forms": forms_of(kind, x, {"kernel": kernel, **options}, cpu=smoke),
        }
        for kind, table in (("conv2d", CONVOLUTIONS), ("conv_transpose2d", TRANSPOSED))
        for title, (x, kernel, options) in table.items()
    } | OTHERS
    single |= {
        title: {
            "name": "roi_align",
            "x": (200, 256),
            "options": options,
            "forms": ("gather", "separable"),
        }
        for title, options in ROI_ALIGN.items()
    }
    if smoke:
        few = ("3×3 in 32 groups, 256, 65²", *list(TRANSPOSED)[:1], *list(OTHERS)[:1])
        single = {title: single[title] for title in few}
    found = {}
    for dtype, gradients in ORDER[: 1 if smoke else len(ORDER)]:
        for title, case in single.items():
            side, channels = case["x"]
            side = -(-side // shrink)
            what = "value and gradients" if gradients else "value"
            # Titles name the side of the full settings.
            name = f"{title.rpartition(', ')[0]}, {side}², batch {batch}, {dtype}, {what}"
            found[name] = {
                "kind": "operation",
                "name": case["name"],
                "x": [batch, side, side, channels],
                **case["options"],
                "dtype": dtype,
                "gradients": gradients,
                "threads": os.cpu_count(),
                "forms": case["forms"],
            }
    return found


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, results), as long as there is time."""
    cases = _cases(options.smoke)
    with Sides(options.torch, clock) as sides:
        for name in left:
            if clock.left < LEAST:
                return
            try:
                if name in cases:
                    yield name, _row(sides, dict(cases[name]))
                else:
                    yield name, _crf(sides, *CRF[options.smoke])
            except TimeOver:
                return


def _row(sides: Sides, case: dict) -> dict:
    """Returns milliseconds, by form: each of segjax's in turns with PyTorch's.

    `difference` is how far a form's result is from that of the form that segjax takes.
    """
    forms, result = case.pop("forms"), {}
    has_torch = "torch" in sides.names
    theirs = sides.prepare("torch", **case) if has_torch else {"error": ""}
    for form in (None, *forms):
        ours = sides.prepare("segjax", **case, **({"form": form} if form else {}))
        sides.in_turns({"torch": theirs, "segjax": ours}, least=0.1)
        result[form or "segjax"] = ours
    first = result["segjax"].get("projection")
    for answer in result.values():
        sums = answer.pop("projection", None)
        if first is not None and sums is not None:
            size = max(max(map(abs, first)), 1e-30)
            found = max(abs(a - b) for a, b in zip(first, sums, strict=True)) / size
            answer["difference"] = float(f"{found:.1e}")
    if has_torch:
        result["torch"] = theirs
    return {title: _milliseconds(answer) for title, answer in result.items()}


def _milliseconds(answer: dict) -> dict:
    kept = ("error", "compile_s", "first_run_s", "temporary_bytes", "difference")
    seconds = median(answer)
    ms = {} if seconds is None else {"ms": round(1e3 * seconds, 4)}
    return ms | {key: answer[key] for key in kept if key in answer}


def _crf(sides: Sides, size: tuple[int, int], classes: int) -> dict:
    answers = {"segjax": sides.prepare("segjax", kind="crf", image=list(size), classes=classes)}
    sides.in_turns(answers)
    host = _pydensecrf(size, classes)
    ours = _milliseconds(answers["segjax"])
    return {"segjax": ours} | ({"pydensecrf on the host": host} if host else {})


def _pydensecrf(size: tuple[int, int], classes: int) -> dict | None:
    try:
        import pydensecrf.densecrf as peer
    except ImportError:
        return None
    image, probabilities = crf_case(size, classes)
    unary = -np.log(probabilities).transpose(2, 0, 1).reshape(classes, -1)
    unary, taken = np.ascontiguousarray(unary), []
    for _ in range(3):
        begin = time.perf_counter()
        crf = peer.DenseCRF2D(size[1], size[0], classes)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=49, srgb=5, rgbim=image, compat=4)
        crf.inference(10)
        taken.append(time.perf_counter() - begin)
    return {"ms": round(1e3 * min(taken), 1)}
