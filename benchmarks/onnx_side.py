"""ONNX Runtime's side of the benchmarks: runs a network that segjax has exported.

Runs in an environment that has onnxruntime and need not have segjax. The lines are those of
`torch_side.py`; a case names the `path` of the model and the shape of its `image`, uint8.
"""

import json
import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    session = inputs = None
    for line in sys.stdin:
        case = json.loads(line)
        try:
            if "run" in case:
                answer = timed(session, inputs, case["run"])
            else:
                session, inputs = prepared(case)
                answer = {"version": f"ONNX Runtime {onnxruntime.__version__}"}
        except Exception as error:
            text = (str(error).splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {text}"[:300]}
        print(json.dumps(answer), flush=True)


def prepared(case):
    """Returns the session, run once, and its inputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    session = onnxruntime.InferenceSession(
        case["path"], options, providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(0).integers(0, 256, case["image"], np.uint8)
    inputs = {"image": image}
    session.run(None, inputs)
    return session, inputs


def timed(session, inputs, count):
    """Returns the seconds of one run, of `count` in a row."""
    start = time.perf_counter()
    for _ in range(count):
        session.run(None, inputs)
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main()
