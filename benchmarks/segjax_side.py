"""segjax's side of the benchmarks: the same lines in, the same lines out as `torch_side.py`.

An operation's `form` is one of those that `FORMS` names; without one, it is what the library
takes on this platform.
"""

import contextlib
import functools
import gc
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import segjax_detection
from crf_case import crf_case

from segjax import losses, weights
from segjax.backbones.mobilenet_v3 import MobileNetV3Large
from segjax.backbones.resnet import ResNet50, ResNet101
from segjax.crf.dense import dense_crf
from segjax.explain.trace import trace
from segjax.export.onnx_graph import onnx_model
from segjax.export.stablehlo import frozen
from segjax.models.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from segjax.models.fc_densenet import FCDenseNet103
from segjax.models.fcn import FCN
from segjax.models.lraspp import LRASPP
from segjax.models.unet import UNet
from segjax.ops import (
    conv_forms,
    conv_lowering,
    pixel_taps,
    pool,
    tap_matmul,
    transposed,
    winograd,
)
from segjax.ops.conv import conv2d
from segjax.ops.dispatch import plain
from segjax.ops.resize import resize_bilinear
from segjax.ops.transposed import conv_transpose2d
from segjax.parallel import cluster
from segjax.parallel.data import data_parallel, forward_program, replicate, shard
from segjax.tasks import dense
from segjax.train.optimizer import SGD, Constant
from segjax.train.step import init_state, make_train_step

FORMS = {
    "by_taps": tap_matmul.by_taps,
    "depthwise": pixel_taps.depthwise,
    "winograd": winograd.winograd,
    "primitive": conv_forms.plain_form,
    "as_on_cpu": lambda x, kernel, window: conv_lowering._on_cpu(x.shape, kernel.shape, window)(
        x, kernel
    ),
    "tiles": transposed._by_tiles,
    "spread": transposed._plain,
    "reduce_window": pool._reduce_window,
}
"""Forms that a case can ask for by name, on every platform."""


RATE = {False: 1e-3, True: 1e-6}
"""Of SGD, without and with objects: random pictures must not drive a detector to infinity."""


def main() -> None:
    cluster.tune_cpu()  # As the commands do.
    work = None
    for line in sys.stdin:
        case = json.loads(line)
        try:
            if "run" in case:
                answer = timed(work, case["run"])
            elif "export" in case:
                answer = exported(case)
            else:
                work = None  # Before the next case takes memory.
                gc.collect()
                work, answer = prepared(case)
        except Exception as error:
            work, answer = None, {"error": what(error)}
        print(json.dumps(answer), flush=True)


def what(error):
    text = (str(error).splitlines() or [""])[0]
    if any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "out of memory")):
        return "out of memory"
    return f"{type(error).__name__}: {text}"[:300]


class Program:
    """A function, compiled for its arguments; `seconds` is how long that took."""

    def __init__(self, function, *arguments):
        start = time.perf_counter()
        self.compiled = function.lower(*arguments).compile()
        self.seconds = time.perf_counter() - start

    def __call__(self, *arguments):
        return self.compiled(*arguments)


def timed(work, count):
    """Returns the seconds of one run, of `count` in a row; a CPU waits for each of them."""
    waits = jax.default_backend() == "cpu"
    start = time.perf_counter()
    for _ in range(count):
        result = work()
        if waits:
            jax.block_until_ready(result)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / count


def prepared(case):
    """Returns the work, compiled and run once, and what is to be said of it."""
    exact = case.get("dtype", "f32") == "f32"
    precision = jax.default_matmul_precision("highest" if exact else "default")
    with precision, plain() if case.get("plain") else contextlib.nullcontext():
        work, program, parameters = CASES[case["kind"]](case)
    start = time.perf_counter()
    result = jax.block_until_ready(work())
    first = program.seconds + time.perf_counter() - start
    memory = program.compiled.memory_analysis()
    arguments, outputs = memory.argument_size_in_bytes, memory.output_size_in_bytes
    total = arguments + outputs + memory.temp_size_in_bytes - memory.alias_size_in_bytes
    answer = {
        "version": f"jax {jax.__version__}",
        "parameters": parameters,
        "compile_s": round(program.seconds, 2),
        "first_run_s": round(first, 2),
        "planned_bytes": total,
        "temporary_bytes": memory.temp_size_in_bytes,
    }
    if case.get("flops"):
        batch, height, width, _ = case["image"]
        answer["forward_flops"] = batch * flops(case["model"], case["classes"], height, width)
    if case["kind"] == "operation":
        answer["projection"] = np.asarray(projection(result)).tolist()
    return work, answer


@jax.jit
def projection(result):
    """Returns a number for each array of a result, in which every value has a part."""
    waves = lambda x: jnp.cos(jnp.arange(x.size, dtype=jnp.float32).reshape(x.shape))
    sums = [(x.astype(jnp.float32) * waves(x)).sum() for x in jax.tree.leaves(result)]
    return jnp.stack(sums)


def drawn(shape, case):
    """Returns random numbers, drawn on the device: the same for every form."""
    return jax.random.normal(jax.random.key(0), tuple(shape), array_dtype(case))


def array_dtype(case):
    return jnp.bfloat16 if case.get("dtype") == "bf16" else jnp.float32


def operation(case):
    options = {k: case[k] for k in ("stride", "padding", "dilation", "groups") if k in case}
    arrays = [drawn(case["x"], case)]
    if case["name"] == "max_pool":
        function = lambda x: max_pool(x, case.get("form"), window=case["window"], **options)
    elif case["name"] == "resize":
        function = lambda x: resize_bilinear(x, tuple(case["size"]))
    elif case["name"] == "roi_align":
        function = segjax_detection.pooled(case)
    else:
        arrays.append(drawn(case["kernel"], case))
        by_name = {"conv2d": convolution, "conv_transpose2d": transposed_convolution}
        function = lambda x, kernel: by_name[case["name"]](
            x, kernel, case.get("form"), **options
        )

    def with_gradients(cotangent, *arrays):
        y, pull_back = jax.vjp(function, *arrays)
        return y, pull_back(cotangent)

    work = function
    if case["gradients"]:
        cotangent = drawn(jax.eval_shape(function, *arrays).shape, case)
        work, arrays = with_gradients, [cotangent, *arrays]
    program = Program(jax.jit(work), *arrays)
    return (lambda: program(*arrays)), program, 0


def convolution(x, kernel, form, *, stride=1, padding=0, dilation=1, groups=1):
    """A convolution, in the form that is asked for."""
    if form is None:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        return conv2d(x, kernel, groups=groups, **options)
    twice = lambda number: (number, number)
    pads = (twice(padding), twice(padding))
    window = tap_matmul.TapWindow(twice(stride), pads, twice(dilation), groups)
    return FORMS[form](x, kernel, window)


def transposed_convolution(x, kernel, form, *, stride=1, padding=0):
    """A transposed convolution, in the form that is asked for."""
    if form is None:
        return conv_transpose2d(x, kernel, stride=stride, padding=padding)
    borders = tuple((size - 1 - padding,) * 2 for size in kernel.shape[:2])
    window = tap_matmul.TapWindow((stride, stride), borders, (1, 1), 1)
    return FORMS[form](x, kernel, window)


def max_pool(x, form, *, window, stride, padding):
    """A max-pool, in the form that is asked for."""
    if form is None:
        return pool.max_pool(x, window=window, stride=stride, padding=padding)
    return FORMS[form](x, window, stride, padding)


def product(case):
    """A matrix product: what the chip can do at most."""
    a = drawn((case["size"], case["size"]), case)
    program = Program(jax.jit(jnp.matmul), a, a)
    return (lambda: program(a, a)), program, 0


def crf(case):
    """Mean-field inference of the dense CRF on one image, classes as in VOC."""
    image, probabilities = map(jax.device_put, crf_case(tuple(case["image"]), case["classes"]))
    program = Program(jax.jit(dense_crf), probabilities, image)
    return (lambda: program(probabilities, image)), program, 0


def training(case):
    model = network(case)
    finds = case["model"] in segjax_detection.NETWORKS
    data = segjax_detection.batch(case["image"], case["classes"]) if finds else labelled(case)
    image = data["image"]
    variables = initial(model, image)
    rate = Constant(RATE[finds])
    optimizer = SGD(rate, momentum=0.9, weight_decay=1e-4).build(100, variables["params"])
    step = make_train_step(
        segjax_detection.objective(model) if finds else dense_objective(model), optimizer
    )
    train = data_parallel(step)
    state = replicate(init_state(variables, optimizer))
    # On the device once, as a prefetched batch would be; only the step's number changes.
    data = shard(data)
    at = lambda step: shard({"step": np.full(len(image), step, np.int32)})
    data, taken = jax.device_put(data), 0
    program = Program(train, state, {**data, **at(0)})

    def work():
        nonlocal state, taken
        state, metrics = program(state, {**data, **at(taken)})
        taken += 1
        return metrics

    return work, program, count(variables)


def labelled(case):
    label = np.random.default_rng(0).integers(0, case["classes"], case["image"][:3], np.uint8)
    return {"image": _random(case["image"]), "label": label}


def dense_objective(model):
    loss = losses.softmax_cross_entropy
    return dense.objective(model, loss, normalize=lambda image: image)


def inference(case):
    model = network(case)
    image = jax.device_put(_random(case["image"])[None])  # A leading axis of devices.
    variables = initial(model, image[0])
    predict = lambda v, x: jax.nn.softmax(model.apply(v, x, train=False))
    if case["model"] in segjax_detection.NETWORKS:
        predict = segjax_detection.detect(model)
    program = Program(forward_program(predict), variables, image)
    return (lambda: program(variables, image)), program, count(variables)


def exported(case):
    """Writes a network as ONNX, norms folded into convolutions, as the command does."""
    model = network(case)
    _, height, width, channels = case["image"]
    variables = initial(model, np.zeros(case["image"], np.float32))
    run = lambda v, x: jax.nn.softmax(model.apply(v, x.astype(jnp.float32), train=False))
    size = (height, width)
    answer = frozen(run, variables, size=size, channels=channels, fold=True)
    data = onnx_model(answer, size=size, channels=channels, name="output", metadata={})
    pathlib.Path(case["export"]).write_bytes(data)
    return {"bytes": len(data)}


def network(case):
    model = (NETWORKS | segjax_detection.NETWORKS)[case["model"]](case["classes"])
    if hasattr(model, "backbone"):  # The heads take the backbone's.
        return model.clone(backbone=model.backbone.clone(dtype=array_dtype(case)))
    return model.clone(dtype=array_dtype(case))


def initial(model, image):
    return weights.init(model, channels=image.shape[-1])


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@functools.cache
def flops(name, classes, height, width):
    """Returns the operations of one image's way forward: two for each multiply-add."""
    rows = trace(NETWORKS[name](classes), (height, width)).rows
    return 2.0 * sum(row.multiply_adds for row in rows)


NETWORKS = {
    "deeplab_v3": lambda k: DeepLabV3(ResNet50(output_stride=8), k, rates=(12, 24, 36)),
    "deeplab_v3_101": lambda k: DeepLabV3(ResNet101(output_stride=8), k, rates=(12, 24, 36)),
    "deeplab_v3_plus": lambda k: DeepLabV3Plus(
        ResNet50(output_stride=16), k, rates=(6, 12, 18), separable=False
    ),
    "fcn": lambda k: FCN(ResNet50(output_stride=8), k),
    "unet": UNet,
    "lraspp": lambda k: LRASPP(MobileNetV3Large(output_stride=16), k),
    "fc_densenet": FCDenseNet103,
    "small_unet": lambda k: UNet(k, depth=2, features=8),
}
CASES = {
    "operation": operation,
    "training": training,
    "inference": inference,
    "product": product,
    "crf": crf,
}


def _random(shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


if __name__ == "__main__":
    main()
