"""The dense CRF on a folder of twenty photographs of twenty sizes, against pydensecrf.

    python benchmarks/crf_folder.py --peer PYTHON --data VOCdevkit [--turns 3]

PYTHON is the interpreter of an environment that has pydensecrf2 and NumPy. Photographs of
PASCAL VOC are shrunk to twenty sizes, the long side 357 … 500 pixels; probabilities of 21
classes are as in `crf.py`. Every figure is of a process of its own that starts, reads the
folder and refines each photograph (DeepLab v1's setting, 10 rounds):

    pydensecrf2   on one core, which is all it uses
    cold          segjax, its folder of compiled programs empty
    cached        segjax again, with the programs that the cold process left
    warm          the folder a second time, in a process that has been through it once; beside
                  it, pydensecrf2's second time

They run in turns. Seconds are of the wall; in brackets, of all cores together.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

COUNT = 20


def refine_all(folder: pathlib.Path, refine: Callable, passes: int) -> None:
    """Refines every case of the folder, `passes` times; prints the last pass's seconds.

    Seconds of the wall come first, then those of all cores.
    """
    for turn in range(passes):
        start = time.perf_counter(), time.process_time()
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as given:
                refine(given["probabilities"], given["image"])
        if turn == passes - 1:
            print(time.perf_counter() - start[0], time.process_time() - start[1])


def peer_side(folder: pathlib.Path, passes: int) -> None:
    """pydensecrf's process."""
    from crf import peer_marginals

    refine_all(folder, peer_marginals, passes)


def own_side(folder: pathlib.Path, passes: int) -> None:
    """segjax's process."""
    from segjax.data.cache import cache_root
    from segjax.parallel import cluster, programs

    cluster.tune_cpu()  # As the commands do.
    programs.keep_programs(cache_root)
    from segjax.crf.dense import dense_crf

    refine = lambda probabilities, image: np.asarray(dense_crf(probabilities, image))
    refine_all(folder, refine, passes)


def write_cases(data: str, folder: pathlib.Path) -> None:
    """Writes photographs of twenty sizes with their probabilities."""
    from crf import coarse
    from PIL import Image

    from segjax.data.voc import VOC

    sizes = set()
    source = VOC(split="train", directory=data)
    source.prepare()
    for i in range(COUNT):
        example = source[i]
        h, w = example["label"].shape
        size = round(w * (1 - 0.015 * i)), round(h * (1 - 0.015 * i))
        sizes.add(size)
        image = Image.fromarray(example["image"]).resize(size, Image.Resampling.BILINEAR)
        label = Image.fromarray(example["label"]).resize(size, Image.Resampling.NEAREST)
        case = {"image": np.asarray(image), "probabilities": coarse(np.asarray(label), i, 1.0)}
        np.savez(folder / f"{i:02}.npz", **case)
    assert len(sizes) == COUNT


def seconds(
    python: str, side: str, passes: int, folder: pathlib.Path, cache: str
) -> tuple[float, float, float, float]:
    """Returns a process's seconds and those of all cores, then the same of its last pass."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, start = used(), time.perf_counter()
    command = [python, __file__, side, str(folder), str(passes)]
    run = subprocess.run(
        command, env=os.environ | {"SEGJAX_CACHE": cache}, stdout=subprocess.PIPE, check=True
    )
    wall = time.perf_counter() - start
    return wall, used() - before, *map(float, run.stdout.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, metavar="PYTHON")
    parser.add_argument("--data", required=True, metavar="VOCdevkit")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    rows = {name: [] for name in ("pydensecrf2", "cold", "cached", "peer warm", "warm")}
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "cases"
        folder.mkdir()
        write_cases(arguments.data, folder)
        for turn in range(arguments.turns):
            cache = str(pathlib.Path(place) / f"cache{turn}")
            ways = (folder, cache)
            rows["pydensecrf2"].append(seconds(arguments.peer, "--peer-side", 1, *ways)[:2])
            for name in ("cold", "cached"):
                rows[name].append(seconds(sys.executable, "--own-side", 1, *ways)[:2])
            for name, python, side in (
                ("peer warm", arguments.peer, "--peer-side"),
                ("warm", sys.executable, "--own-side"),
            ):
                rows[name].append(seconds(python, side, 2, *ways)[2:])
            print({name: [f"{w:.1f} ({c:.1f})" for w, c in v] for name, v in rows.items()})
            print("load", os.getloadavg(), flush=True)
    pairs = (("cold", "pydensecrf2"), ("cached", "pydensecrf2"), ("warm", "peer warm"))
    for kind, column in (("wall", 0), ("cores", 1)):
        taken = {name: [row[column] for row in found] for name, found in rows.items()}
        for own, peer in pairs:
            both = zip(taken[peer], taken[own], strict=True)
            ratio = statistics.median(a / b for a, b in both)
            slow, fast = statistics.median(taken[peer]), statistics.median(taken[own])
            print(f"| {own}, {kind} | {slow:.1f} s | {fast:.1f} s | {ratio:.2f} |")


if __name__ == "__main__":
    sides = {"--peer-side": peer_side, "--own-side": own_side}
    if sys.argv[1] in sides:
        sides[sys.argv[1]](pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
