"""Writes `oracles.json`: scores of these images by scikit-learn and torchmetrics.

Run it where they are installed: `python tests/scores/make_oracles.py`, with the repository on
the path. Made with scikit-learn 1.9.1 and torchmetrics 1.9.
"""

import json
import pathlib
import runpy
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
MADE = runpy.run_path(str(HERE / "images.py"))
image, planes, probabilities = (MADE[name] for name in ("image", "planes", "probabilities"))


def by_class(functions, truth, prediction, labels) -> dict:
    nan = float("nan")
    found = {
        name: function(truth, prediction, labels=labels, average=None, zero_division=nan)
        for name, function in functions.items()
    }
    return {name: plain(values) for name, values in found.items()}


def plain(values) -> list:
    return [None if np.isnan(value) else float(value) for value in values]


def overlap() -> dict:
    from sklearn.metrics import f1_score, precision_score, recall_score

    functions = {"dice": f1_score, "precision": precision_score, "recall": recall_score}
    pixels = lambda images, part: np.concatenate([part(i)[i.counted] for i in images])
    images = [image(seed) for seed in range(3)]
    truth, said = (
        pixels(images, lambda i: i.label),
        pixels(images, lambda i: i.prediction),
    )
    found = {"classes": by_class(functions, truth, said, [0, 1, 2, 3]), "planes": {}}
    for k in range(2):
        found_planes = [planes(seed).plane(k) for seed in range(3)]
        truth = np.concatenate([p.truth[p.counted] for p in found_planes])
        said = np.concatenate([p.prediction[p.counted] for p in found_planes])
        for name, values in by_class(functions, truth, said, [1]).items():
            found["planes"].setdefault(name, []).extend(values)
    return found


def calibration() -> dict:
    import torch
    from torchmetrics.functional.classification import (
        binary_calibration_error,
        multiclass_calibration_error,
    )

    images = [probabilities(seed) for seed in range(3)]
    maps = np.concatenate([i.probabilities[i.counted] for i in images])
    truth = np.concatenate([i.label[i.counted] for i in images])
    multi = multiclass_calibration_error(
        torch.tensor(maps), torch.tensor(truth), num_classes=4, n_bins=15
    )
    several = []
    for k in range(2):
        p = np.concatenate(
            [i.probabilities[..., k][i.counted[..., k]] for i in map(planes, range(3))]
        )
        label = np.concatenate(
            [i.label[..., k][i.counted[..., k]] for i in map(planes, range(3))]
        )
        error = binary_calibration_error(torch.tensor(p), torch.tensor(label), n_bins=15)
        several.append(float(error))
    return {"classes": float(multi), "planes": several}


if __name__ == "__main__":
    target = HERE / "oracles.json"
    found = json.loads(target.read_text("utf-8")) if target.exists() else {}
    parts = {"overlap": overlap, "calibration": calibration}
    for name in sys.argv[1:] or parts:
        made = parts[name]()
        found |= made if name == "overlap" else {name: made}
    target.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
