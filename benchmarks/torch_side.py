"""PyTorch's side of the benchmarks: reads a case a line, then runs it as often as it is told.

Runs in an environment of its own, which has torch and torchvision and need not have segjax; on
a GPU where there is one. Arrays are channels_last, PyTorch's faster layout on CPUs and for
cuDNN. A case's `dtype` is f32, tf32 or bf16 (networks: autocast over float32 weights), and
`compile` names a backend of `torch.compile`, for network and loss. A failure is answered with
{"error": …}.
"""

import json
import sys
import time

import torch
import torch_detection
import torch_networks
from torch.nn import functional as F

LAST = torch.channels_last
RATE = {False: 1e-3, True: 1e-6}
"""Of SGD, without and with objects: random pictures must not drive a detector to infinity."""

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    torch.manual_seed(0)
    torch_networks.declare_operators()
    work = None
    for line in sys.stdin:
        case = json.loads(line)
        try:
            if "run" in case:
                answer = timed(work, case["run"])
            else:
                work = None  # Before the next case takes memory.
                work, answer = prepared(case)
        except Exception as error:
            work, answer = None, {"error": what(error)}
        print(json.dumps(answer), flush=True)


def what(error):
    # cuDNN without memory for its workspace says so in its own words.
    signs = ("CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
    if isinstance(error, torch.OutOfMemoryError) or any(s in str(error) for s in signs):
        return "out of memory"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]


def timed(work, count):
    """Returns the seconds of one run, of `count` in a row."""
    start = time.perf_counter()
    for _ in range(count):
        work()
    wait()
    return (time.perf_counter() - start) / count


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def prepared(case):
    """Returns the work, run once, and what is to be said of it."""
    if DEVICE == "cpu":
        torch.set_num_threads(case["threads"])
    else:
        torch._dynamo.reset()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(case.get("memory_fraction", 1.0))
    exact = case.get("dtype", "f32") == "f32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.benchmark = True
    work, parameters = CASES[case["kind"]](case)
    start = time.perf_counter()
    work()
    wait()
    answer = {
        "version": f"torch {torch.__version__}",
        "parameters": parameters,
        "first_run_s": round(time.perf_counter() - start, 2),
    }
    if DEVICE == "cuda":
        # Of an ordinary run: in the first, cuDNN tries its algorithms and their workspaces.
        torch.cuda.reset_peak_memory_stats()
        work()
        wait()
        answer["memory_bytes"] = torch.cuda.max_memory_allocated()
    return work, answer


def half(case):
    return case.get("dtype") == "bf16"


def operation(case):
    dtype = torch.bfloat16 if half(case) else torch.float32
    made = lambda *shape: torch.randn(*shape, device=DEVICE, dtype=dtype).contiguous(
        memory_format=LAST
    )
    b, h, w, c = case["x"]
    x = made(b, c, h, w)
    groups = case.get("groups", 1)
    options = {k: case[k] for k in ("stride", "padding") if k in case}
    if case["name"] == "max_pool":
        kernel = None
        function = lambda: F.max_pool2d(x, case["window"], **options)
    elif case["name"] == "resize":
        kernel, size = None, tuple(case["size"])
        function = lambda: F.interpolate(x, size, mode="bilinear", align_corners=False)
    elif case["name"] == "roi_align":
        kernel, function = None, torch_detection.pooled(x, case)
    else:
        height, width, inner, outputs = case["kernel"]
        kernel = made(outputs, inner, height, width)
        options |= {"dilation": case.get("dilation", 1), "groups": groups}
        transposed = case["name"] == "conv_transpose2d"
        convolution = F.conv_transpose2d if transposed else F.conv2d
        function = lambda: convolution(x, kernel, **options)
    if not case["gradients"]:
        return torch.no_grad()(function), 0
    inputs = [t.requires_grad_() for t in (x, kernel) if t is not None]
    cotangent = torch.randn_like(function())
    return (lambda: torch.autograd.grad(function(), inputs, cotangent)), 0


def product(case):
    """A matrix product: what the chip can do at most."""
    n, dtype = case["size"], torch.bfloat16 if half(case) else torch.float32
    a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
    return (lambda: a @ b), 0


def network(case):
    networks = torch_networks.NETWORKS | torch_detection.NETWORKS
    model = networks[case["model"]](case["classes"])
    model = model.to(DEVICE, memory_format=LAST)
    count = sum(p.numel() for p in model.parameters())
    b, h, w, c = case["image"]
    image = torch.randn(b, c, h, w, device=DEVICE).to(memory_format=LAST)
    return model, image, count


def compiled(function, case):
    return torch.compile(function, backend=case["compile"]) if case.get("compile") else function


def autocast(case):
    return torch.autocast(DEVICE, torch.bfloat16, enabled=half(case))


def training(case):
    model, image, count = network(case)
    model.train()
    finds = case["model"] in torch_detection.NETWORKS
    fused = {"fused": True} if DEVICE == "cuda" else {}
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE[finds], momentum=0.9, weight_decay=1e-4, **fused
    )
    if finds:
        loss, label = (
            detector(model, case),
            torch_detection.targets(case["image"], case["classes"], DEVICE),
        )
    else:
        loss, label = dense_loss(model, case), dense_label(case)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(image, label).backward()
        optimizer.step()

    return step, count


def dense_label(case):
    return torch.randint(0, case["classes"], case["image"][:3], device=DEVICE)


def dense_loss(model, case):
    def loss(image, label):
        with autocast(case):
            logits = model(image)
        return F.cross_entropy(logits.float(), label, ignore_index=255)

    return compiled(loss, case)


def detector(model, case):
    """Returns a detector whose trunk is compiled: the shapes behind it change with the data."""
    parts = torch_detection.Parts(model, compiled(model.backbone, case))

    def run(*arguments):
        with autocast(case):
            return parts(*arguments)

    return run


def inference(case):
    model, image, count = network(case)
    model.eval()
    if case["model"] in torch_detection.NETWORKS:
        find = detector(model, case)
        return torch.no_grad()(lambda: find(image)), count

    def probabilities(image):
        with autocast(case):
            logits = model(image)
        return logits.float().softmax(1)

    probabilities = compiled(probabilities, case)
    return torch.no_grad()(lambda: probabilities(image)), count


CASES = {
    "operation": operation,
    "training": training,
    "inference": inference,
    "product": product,
}

if __name__ == "__main__":
    main()
