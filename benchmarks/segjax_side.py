"""segjax's side of `speed.py`: the same lines in, the same lines out as `torch_side.py`."""

import json
import sys
import time

import jax
import numpy as np

from segjax import losses, parallel
from segjax.backbones.resnet import ResNet50
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN
from segjax.models.unet import UNet
from segjax.ops.conv import conv2d
from segjax.ops.forms import plain
from segjax.ops.pool import max_pool
from segjax.ops.transposed import conv_transpose2d
from segjax.train.optimizer import SGD, Constant
from segjax.train.step import init_state, make_train_step


def main() -> None:
    parallel.tune_cpu()  # As the commands do.
    for line in sys.stdin:
        case = json.loads(line)
        if "run" in case:
            start = time.perf_counter()
            for _ in range(case["run"]):
                jax.block_until_ready(work())
            answer = (time.perf_counter() - start) / case["run"]
        elif case.get("plain"):
            with plain():
                work, answer = _prepared(case)
        else:
            work, answer = _prepared(case)
        print(json.dumps(answer), flush=True)


def _prepared(case):
    """Returns the work, compiled, and what is to be said of it."""
    work, compiled = CASES[case["kind"]](case)
    jax.block_until_ready(work())
    memory = compiled.memory_analysis().temp_size_in_bytes
    return work, f"jax {jax.__version__}, {memory / 2**20:.0f} MiB of temporaries"


def operation(case):
    options = {k: case[k] for k in ("stride", "padding", "dilation", "groups") if k in case}
    arrays = [_random(case["x"])]
    if case["name"] == "max_pool":
        function = lambda x: max_pool(x, window=case["window"], **options)
    else:
        arrays.append(_random(case["kernel"]))
        convolution = conv_transpose2d if case["name"] == "conv_transpose2d" else conv2d
        function = lambda x, kernel: convolution(x, kernel, **options)

    def with_gradients(cotangent, *arrays):
        y, pull_back = jax.vjp(function, *arrays)
        return y, pull_back(cotangent)

    work = function
    if case["gradients"]:
        cotangent = _random(jax.eval_shape(function, *arrays).shape)
        work, arrays = with_gradients, [cotangent, *arrays]
    arrays = jax.device_put(arrays)
    compiled = jax.jit(work).lower(*arrays).compile()
    return (lambda: compiled(*arrays)), compiled


def training(case):
    model = MODELS[case["model"]](case["classes"])
    image = _random(case["image"])
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    optimizer = SGD(Constant(1e-3), momentum=0.9, weight_decay=1e-4).build(
        100, variables["params"]
    )
    step = make_train_step(
        model, losses.softmax_cross_entropy, optimizer, normalize=lambda image: image
    )
    label = np.random.default_rng(0).integers(0, case["classes"], case["image"][:3], np.uint8)
    train = parallel.data_parallel(step)
    state = parallel.replicate(init_state(variables, optimizer))

    def batch():
        now = np.full(len(image), int(state.step), np.int32)
        return parallel.shard({"image": image, "label": label, "step": now})

    compiled = train.lower(state, batch()).compile()

    def work():
        nonlocal state
        state, metrics = compiled(state, batch())
        return metrics

    return work, compiled


def inference(case):
    model = MODELS[case["model"]](case["classes"])
    image = _random(case["image"])
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    predict = jax.jit(lambda v, x: jax.nn.softmax(model.apply(v, x, train=False)))
    compiled = predict.lower(variables, image).compile()
    return (lambda: compiled(variables, image)), compiled


MODELS = {
    "deeplab_v3": lambda k: DeepLabV3(ResNet50(output_stride=8), k, rates=(12, 24, 36)),
    "fcn": lambda k: FCN(ResNet50(output_stride=8), k),
    "unet": UNet,
}
CASES = {"operation": operation, "training": training, "inference": inference}


def _random(shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


if __name__ == "__main__":
    main()
