"""Times segjax against its peers, in turns in one run, and prints a table of ratios.

    python benchmarks/speed.py operations|training|inference --torch PYTHON [--threads 2]

PYTHON is the interpreter of an environment that has torch and torchvision. `--compiled` adds
`torch.compile`, which needs a C++ compiler, and `--onnx` ONNX Runtime on the exported network
(inference; PYTHON needs onnxruntime, and this environment onnx). Each side is warm before it is
timed; then they take turns of several runs, each after one that is not timed, and medians are
compared: the fastest peer ÷ segjax, so above 1 segjax is faster. `--plain` adds segjax without
its fast forms. Mask R-CNN needs torchvision's compiled operators. segjax's process asks for
large pages, as its commands do; with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` before the command
the peers' do too. Nothing else should run.
"""

import argparse
import contextlib
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from sides import Side, SideError

from segjax import restart

PAUSE = 0.5
"""Seconds before each turn, in which the other side's idle threads stop spinning."""

TURN = {"operation": 0.2, "inference": 2.0, "training": 4.0}
"""The seconds that a turn takes, about; it has at least two runs.

They follow one another, as in a real use, after one that is not timed: in a pause a virtual
machine takes freed memory back, and the first step after it pays for that (`results.md`).
"""

CONVOLUTIONS = {
    "1×1, 1024 → 256, 65²": ([1, 65, 65, 1024], [1, 1, 1024, 256], {}),
    "3×3, 64 → 64, 129²": ([1, 129, 129, 64], [3, 3, 64, 64], {"padding": 1}),
    "3×3 /2, 128 → 128, 129²": (
        [1, 129, 129, 128],
        [3, 3, 128, 128],
        {"padding": 1, "stride": 2},
    ),
    "3×3 rate 2, 256 → 256, 65²": (
        [1, 65, 65, 256],
        [3, 3, 256, 256],
        {"padding": 2, "dilation": 2},
    ),
    "3×3 rate 4, 512 → 512, 65²": (
        [1, 65, 65, 512],
        [3, 3, 512, 512],
        {"padding": 4, "dilation": 4},
    ),
    "3×3 rate 12, 2048 → 256, 65²": (
        [1, 65, 65, 2048],
        [3, 3, 2048, 256],
        {"padding": 12, "dilation": 12},
    ),
    "3×3 rate 36, 2048 → 256, 65²": (
        [1, 65, 65, 2048],
        [3, 3, 2048, 256],
        {"padding": 36, "dilation": 36},
    ),
    "depthwise 3×3, 960, 65²": (
        [1, 65, 65, 960],
        [3, 3, 1, 960],
        {"padding": 1, "groups": 960},
    ),
    "depthwise 3×3 rate 12, 960, 65²": (
        [1, 65, 65, 960],
        [3, 3, 1, 960],
        {"padding": 12, "dilation": 12, "groups": 960},
    ),
    "3×3 in 32 groups, 256, 65²": (
        [1, 65, 65, 256],
        [3, 3, 8, 256],
        {"padding": 1, "groups": 32},
    ),
}
TRANSPOSED = {
    "transposed 2×2 /2, 128 → 64, 64²": ([1, 64, 64, 128], [2, 2, 64, 128], {"stride": 2}),
    "transposed 4×4 /2, 21, 64²": (
        [1, 64, 64, 21],
        [4, 4, 21, 21],
        {"stride": 2, "padding": 1},
    ),
    "transposed 4×4 /2, 64 → 64, 64²": (
        [2, 64, 64, 64],
        [4, 4, 64, 64],
        {"stride": 2, "padding": 1},
    ),
    "transposed 16×16 /8, 21, 64²": (
        [1, 64, 64, 21],
        [16, 16, 21, 21],
        {"stride": 8, "padding": 4},
    ),
}
POOL = {
    "max-pool 3 /2, 64, 257²": {"x": [1, 257, 257, 64], "window": 3, "stride": 2, "padding": 1},
    "max-pool 2 /2, 64, 256²": {"x": [1, 256, 256, 64], "window": 2, "stride": 2, "padding": 0},
    "max-pool 3 /1, 256, 64²": {"x": [1, 64, 64, 256], "window": 3, "stride": 1, "padding": 1},
}


def cases(what: str) -> dict[str, dict]:
    """Returns what is compared, by its name in the table."""
    image = lambda b, size: [b, size, size, 3]
    network = lambda kind, name, shape: {
        "kind": kind,
        "model": name,
        "image": shape,
        "classes": 91 if name == "mask_rcnn" else 21,
    }
    detector = {"Mask R-CNN R-50 FPN, 320 × 480": network(what, "mask_rcnn", [1, 320, 480, 3])}
    if what == "training":
        return {
            "DeepLab v3 ResNet-50 OS 8, 2 × 256²": network(what, "deeplab_v3", image(2, 256)),
            "FCN ResNet-50 OS 8, 2 × 256²": network(what, "fcn", image(2, 256)),
            "U-Net 64 … 1024, 1 × 256²": network(what, "unet", image(1, 256)),
        } | detector
    if what == "inference":
        return {
            "DeepLab v3 ResNet-50 OS 8, 513²": network(what, "deeplab_v3", image(1, 513)),
            "FCN ResNet-50 OS 8, 513²": network(what, "fcn", image(1, 513)),
            "U-Net 64 … 1024, 256²": network(what, "unet", image(1, 256)),
        } | detector
    operations = {
        name: {"name": kind, "x": x, "kernel": kernel, **options}
        for kind, table in (("conv2d", CONVOLUTIONS), ("conv_transpose2d", TRANSPOSED))
        for name, (x, kernel, options) in table.items()
    } | {name: {"name": "max_pool", **case} for name, case in POOL.items()}
    return {
        f"{name}{suffix}": {"kind": "operation", "gradients": gradients, **case}
        for name, case in operations.items()
        for suffix, gradients in ((", value", False), (", value and gradients", True))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("operations", "training", "inference"))
    parser.add_argument("--torch", required=True, metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--plain", action="store_true", help="also without the fast forms")
    parser.add_argument("--compiled", action="store_true", help="also torch.compile")
    parser.add_argument("--onnx", action="store_true", help="also ONNX Runtime")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"threads: {arguments.threads}; times: median of {arguments.turns} turns; load of the "
        f"machine at the start: {load:.1f}"
    )
    print("| case | peers | segjax | peer ÷ segjax | spread of turns | prepared in |")
    print("|---|---|---|---|---|---|")
    versions, failed = set(), 0
    for name, case in cases(arguments.what).items():
        if arguments.only in name:
            kinds = {name: case}
            if arguments.plain:
                kinds[f"{name}, plain"] = case | {"plain": True}
            for title, kind in kinds.items():
                try:
                    versions |= compare(title, kind, arguments)
                except SideError as error:
                    failed += 1
                    print(f"| {title} | {error} | | | | |", flush=True)
    print("; ".join(sorted(versions)))
    if failed:
        sys.exit(f"error: {failed} cases could not be compared; the table says why.")


def compare(name: str, case: dict, arguments: argparse.Namespace) -> set[str]:
    """Prints a row; returns the versions that were compared.

    Raises:
      SideError: segjax or all of its peers failed.
    """
    with contextlib.ExitStack() as stack:
        start = lambda python, script, environment=None: stack.enter_context(
            _ended(Side(python, script, threads=arguments.threads, environment=environment))
        )
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = start(sys.executable, "segjax_side.py", restart.missing_variables())
        sides = _peers(case, arguments, ours, folder / "network.onnx", start)
        said, prepared = {}, {}
        for side, (process, message) in {**sides, "segjax": (ours, case)}.items():
            began = time.perf_counter()
            try:
                said[side] = process.ask(threads=arguments.threads, **message)
            except SideError as error:
                if side == "segjax":
                    raise
                print(f"{name}: {side}: {error}", file=sys.stderr)
            prepared[side] = time.perf_counter() - began
        peers = [side for side in sides if side in said]
        if not peers:
            raise SideError("no peer can run it")
        running = {side: sides[side][0] for side in peers} | {"segjax": ours}
        once = _turn(running[peers[0]], 1)
        count = max(2, math.ceil(TURN[case["kind"]] / max(once, 1e-4)))
        turns = [
            {side: _turn(process, count) for side, process in running.items()}
            for _ in range(arguments.turns)
        ]
    medians = {side: statistics.median(turn[side] for turn in turns) for side in running}
    best = min(peers, key=medians.__getitem__)
    ratios = sorted(turn[best] / turn["segjax"] for turn in turns)
    print(
        f"| {name} | {', '.join(f'{side} {_seconds(medians[side])}' for side in peers)} | "
        f"{_seconds(medians['segjax'])} | {medians[best] / medians['segjax']:.2f} | "
        f"{ratios[0]:.2f} … {ratios[-1]:.2f} | {prepared[best]:.0f} s, "
        f"{prepared['segjax']:.0f} s, "
        f"{said['segjax']['temporary_bytes'] / 2**20:.0f} MiB of temporaries |",
        flush=True,
    )
    return {answer["version"] for answer in said.values()}


@contextlib.contextmanager
def _ended(side: Side) -> Iterator[Side]:
    """Ends a side after the block, whatever happens."""
    try:
        yield side
    finally:
        side.kill()


def _peers(
    case: dict,
    arguments: argparse.Namespace,
    ours: Side,
    path: pathlib.Path,
    start: Callable[[str, str], Side],
) -> dict[str, tuple[Side, dict]]:
    """Returns the peers of a case, each with what it is told; segjax exports what one runs."""
    peers = {"torch": (start(arguments.torch, "torch_side.py"), case)}
    is_network = case["kind"] in ("training", "inference") and case["model"] != "mask_rcnn"
    if arguments.compiled and is_network:
        compiled = start(arguments.torch, "torch_side.py")
        peers["compiled"] = (compiled, case | {"compile": "inductor"})
    if arguments.onnx and is_network and case["kind"] == "inference":
        model = {key: case[key] for key in ("model", "image", "classes")}
        ours.ask(export=str(path), **model)
        onnx = start(arguments.torch, "onnx_side.py")
        peers["onnx"] = (onnx, {"path": str(path), "image": case["image"]})
    return peers


def _turn(side: Side, count: int) -> float:
    """Returns the seconds of a run, of `count` in a row after one that is not timed."""
    time.sleep(PAUSE)
    side.ask(run=1)
    return side.ask(run=count)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


if __name__ == "__main__":
    main()
