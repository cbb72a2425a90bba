"""Writes golden_pydensecrf.npz: marginals of pydensecrf on a small drawn picture.

    pip install pydensecrf2 && python tests/crf/make_golden_pydensecrf.py

Made with pydensecrf2 1.1. Outputs are sampled: every third pixel of both axes.
"""

import pathlib

import numpy as np

DEEPLAB = {"compat": 3, "sxy": 3}, {"compat": 4, "sxy": 49, "srgb": 5}
MATRIX = ((-3.0, 1.0, 0.0), (1.0, -2.0, 0.5), (0.0, 0.5, -1.0))
LOPSIDED = ((-3.0, 2.0, 0.0), (0.0, -2.0, 1.5), (1.0, -0.5, -1.0))


def case(smoothness=None, appearance=None, iterations=5, normalization="symmetric"):
    return {
        "iterations": iterations,
        "smoothness": smoothness,
        "appearance": appearance,
        "normalization": normalization,
    }


CASES = {
    "deeplab": case(*DEEPLAB, iterations=10),
    "appearance": case(None, {"compat": 10, "sxy": (80, 60), "srgb": (13, 9, 20)}),
    "before": case(None, DEEPLAB[1], normalization="before"),
    "after": case(None, DEEPLAB[1], normalization="after"),
    "none": case(None, DEEPLAB[1], normalization="none"),
    "vector": case(None, {"compat": (-4.0, -2.0, -1.0), "sxy": 30, "srgb": 10}),
    "pair": case({"compat": LOPSIDED, "sxy": (1.5, 4)}),
    "matrix": case({"compat": MATRIX, "sxy": 3}, {"compat": MATRIX, "sxy": 30, "srgb": 10}),
}


def picture(h=36, w=42):
    """Returns probabilities h w 3 in float32, and an image h w 3 in uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:h, :w]
    label = np.where((x - 15) ** 2 + (y - 14) ** 2 < 90, 1, np.where(x + y > 52, 2, 0))
    colour = np.array([[60, 110, 160], [200, 90, 60], [90, 160, 80]])[label]
    image = np.clip(colour + rng.normal(size=(h, w, 3)) * 12, 0, 255).astype(np.uint8)
    scores = np.eye(3)[label] * 1.2 + rng.normal(size=(h, w, 3))
    probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return probabilities.astype(np.float32), np.ascontiguousarray(image)


def marginals(*, iterations, smoothness, appearance, normalization):
    """Returns pydensecrf's marginals, h w 3."""
    import pydensecrf.densecrf as peer

    names = dict(before="NORMALIZE_BEFORE", after="NORMALIZE_AFTER", none="NO_NORMALIZATION")
    kind = getattr(peer, names.get(normalization, "NORMALIZE_SYMMETRIC"))
    probabilities, image = picture()
    h, w, k = probabilities.shape
    crf = peer.DenseCRF2D(w, h, k)
    unary = -np.log(np.clip(probabilities, 1e-5, 1))
    crf.setUnaryEnergy(np.ascontiguousarray(unary.transpose(2, 0, 1).reshape(k, -1)))

    def compat(kernel):
        number = isinstance(kernel["compat"], int | float)
        return kernel["compat"] if number else np.asarray(kernel["compat"], np.float32)

    if smoothness:
        crf.addPairwiseGaussian(smoothness["sxy"], compat(smoothness), normalization=kind)
    if appearance:
        widths = appearance["sxy"], appearance["srgb"]
        crf.addPairwiseBilateral(*widths, image, compat(appearance), normalization=kind)
    return np.array(crf.inference(iterations)).reshape(k, h, w).transpose(1, 2, 0)


if __name__ == "__main__":
    outputs = {name: marginals(**one)[::3, ::3] for name, one in CASES.items()}
    np.savez_compressed(pathlib.Path(__file__).with_name("golden_pydensecrf.npz"), **outputs)
