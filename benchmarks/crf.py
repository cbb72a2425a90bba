"""Holds the dense CRF against pydensecrf on VOC images, and measures what it mends.

    python benchmarks/crf.py --peer PYTHON --data VOCdevkit [--images 14] [--turns 3]

PYTHON is the interpreter of an environment that has pydensecrf2 and NumPy. Each image's true
labels are averaged over blocks of 16 × 16 pixels, their logarithm gets noise, is interpolated,
and gets more noise at each pixel (`--noise`): a coarse and unsure prediction. Both sides work
on it in turns (DeepLab v1's setting, 21 classes, 10 rounds); a row an image says how many
labels agree and the times, compilation apart; below are the medians and mIoU before and after.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

CLASSES = 21


def peer_marginals(probabilities: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns pydensecrf's marginals k n, and the seconds that it took for them."""
    import pydensecrf.densecrf as peer

    h, w, k = probabilities.shape
    unary = -np.log(np.clip(probabilities, 1e-5, 1)).transpose(2, 0, 1).reshape(k, -1)
    unary = np.ascontiguousarray(unary)
    start = time.perf_counter()
    crf = peer.DenseCRF2D(w, h, k)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=49, srgb=5, rgbim=np.ascontiguousarray(image), compat=4)
    result = np.array(crf.inference(10))
    return result, time.perf_counter() - start


def side() -> None:
    """pydensecrf's side: a file's name a line in; labels into a file, seconds out."""
    for line in sys.stdin:
        path = json.loads(line)
        with np.load(path) as given:
            probabilities, image = given["probabilities"], given["image"]
        result, seconds = peer_marginals(probabilities, image)
        labels = result.argmax(0).reshape(image.shape[:2]).astype(np.uint8)
        np.save(f"{path}.npy", labels)
        print(json.dumps(seconds), flush=True)


def coarse(label: np.ndarray, seed: int, noise: float) -> np.ndarray:
    """Returns probabilities h w 21 of a coarse, unsure prediction."""
    import jax
    import jax.numpy as jnp

    from segjax.ops.resize import resize_bilinear

    h, w = label.shape
    one_hot = np.eye(CLASSES, dtype=np.float32)[np.where(label == 255, 0, label)]
    padded = np.pad(one_hot, ((0, -h % 16), (0, -w % 16), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // 16, padded.shape[1] // 16
    blocks = padded.reshape(rows, 16, columns, 16, CLASSES).mean((1, 3))
    rng = np.random.default_rng(seed)
    scores = np.log(blocks + 0.002) + rng.normal(scale=0.5, size=blocks.shape)
    scores = jnp.asarray(scores, jnp.float32)[None]
    scores = resize_bilinear(scores, (16 * rows, 16 * columns))[0, :h, :w]
    speckle = rng.normal(scale=noise, size=scores.shape).astype(np.float32)
    return np.asarray(jax.nn.softmax(scores + speckle))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, metavar="PYTHON")
    parser.add_argument("--data", required=True, metavar="VOCdevkit")
    parser.add_argument("--images", type=int, default=14)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--noise", type=float, default=1.0, help="deviation, at each pixel")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    from segjax import metrics
    from segjax.parallel import cluster

    cluster.tune_cpu()  # As the commands do.
    from segjax.data.voc import VOC

    data = VOC(split="val", directory=arguments.data)
    data.prepare()
    peer = subprocess.Popen(
        [arguments.peer, __file__, "--side"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    before, ours, theirs = (np.zeros((CLASSES, CLASSES), np.int64) for _ in range(3))
    rows = []
    print("| image | size | labels that agree | pydensecrf2 | segjax | pydensecrf2 ÷ segjax |")
    print("|---|---|---|---|---|---|")
    for i in range(min(arguments.images, len(data))):
        image, label = data[i]["image"], data[i]["label"]
        probabilities = coarse(label, i, arguments.noise)
        mended, other, seconds = in_turns(peer, probabilities, image, arguments.turns)
        for counts, found in (
            (before, probabilities.argmax(-1)),
            (ours, mended),
            (theirs, other),
        ):
            counts += metrics.confusion_matrix(label, np.asarray(found), CLASSES)
        rows.append((float((mended == other).mean()), *seconds))
        agree, slow, fast = rows[-1]
        print(
            f"| {data[i]['name']} | {image.shape[0]} × {image.shape[1]} | {agree:.4%} | "
            f"{slow:.2f} s | {fast:.2f} s | {slow / fast:.2f} |",
            flush=True,
        )
    peer.stdin.close()
    peer.wait()
    agree, slow, fast = zip(*rows, strict=True)
    ratio = statistics.median(a / b for a, b in zip(slow, fast, strict=True))
    print(
        f"median ratio {ratio:.2f}; labels agree {np.mean(agree):.4%}, least {min(agree):.4%}"
    )
    before, ours, theirs = (metrics.mean_iou(counts) for counts in (before, ours, theirs))
    print(f"mIoU before {before:.4f}, segjax {ours:.4f}, pydensecrf2 {theirs:.4f}")


def in_turns(
    peer: subprocess.Popen, probabilities: np.ndarray, image: np.ndarray, turns: int
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Returns segjax's labels, pydensecrf's, and the median seconds, pydensecrf's first."""
    import jax

    from segjax.crf.dense import dense_crf

    infer = lambda: jax.block_until_ready(dense_crf(probabilities, image))
    labels, taken = np.asarray(infer()).argmax(-1), []
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "case.npz")
        np.savez(path, probabilities=probabilities, image=np.ascontiguousarray(image))
        for _ in range(turns):
            print(json.dumps(path), file=peer.stdin, flush=True)
            peer_seconds = json.loads(peer.stdout.readline())
            start = time.perf_counter()
            infer()
            taken.append((peer_seconds, time.perf_counter() - start))
        other = np.load(f"{path}.npy")
    return labels, other, [statistics.median(column) for column in zip(*taken, strict=True)]


if __name__ == "__main__":
    side() if sys.argv[1:] == ["--side"] else main()
