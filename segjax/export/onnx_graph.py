"""A traced function as an ONNX model; the weights are its constants.

ONNX's translators for JAX that there are do not translate these networks, and the table that
they need is small (`segjax.export.onnx_nodes`). What is known while translating, such as
interpolation weights, is computed here and not when the model runs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segjax.contracts import Array
from segjax.export.onnx_nodes import NODES, NoNode, Value

OPSET, IR_VERSION = 18, 10
"""Of December 2022 and of 2024: old enough for the runtimes in use."""

CALLS = {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2"}
"""Primitives that run a function once, as it stands. What runs one otherwise is a loop."""


def onnx_model(
    answer: Callable[[Array], Any],
    *,
    size: tuple[int, int],
    channels: int,
    name: str,
    metadata: dict[str, str],
) -> bytes:
    """Returns `answer` of one uint8 image 1 h w c ("image") as a model.

    Its output is `name`. If `answer` returns {name: array}, there are several outputs.

    Raises:
      NoNode: an operation of the network is not in the table, or not for its type of
        numbers; it is named.
      ModuleNotFoundError: `onnx` is not installed.
    """
    image = jax.ShapeDtypeStruct((1, *size, channels), jnp.uint8)
    traced, found = jax.make_jaxpr(answer, return_shape=True)(image)
    # JAX returns the arrays of a dict in the order of their names.
    outputs = dict(sorted(found.items())) if isinstance(found, Mapping) else {name: found}
    graph = _Graph()
    results = graph.through(traced.jaxpr, traced.consts, ["image"])
    for name, result in zip(outputs, results, strict=True):
        graph.nodes.append(("Identity", [graph.stored(result)], name, {}))
    return graph.serialized(
        {"image": (image.shape, image.dtype)},
        {name: (each.shape, each.dtype) for name, each in outputs.items()},
        metadata,
    )


class _Graph:
    """Nodes and constants, written while a jaxpr is read.

    Attributes:
      nodes: (operator, names of inputs, name of the result, attributes).
      constants: arrays by name.
    """

    def __init__(self):
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, operator: str, *inputs: Value, **attributes: Any) -> Value:
        """Adds a node; returns its name. A constant is transposed and reshaped at once."""
        first = inputs[0]
        if isinstance(first, np.ndarray) and operator == "Transpose":
            return np.ascontiguousarray(first.transpose(attributes["perm"]))
        result = f"v{len(self.nodes)}"
        self.nodes.append((operator, [self.stored(v) for v in inputs], result, attributes))
        return result

    def stored(self, value: Value) -> str:
        """Returns the name of a value, which becomes a constant where it is an array."""
        if isinstance(value, str):
            return value
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def through(
        self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]
    ) -> list[Value]:
        """Returns the values of the outputs."""
        values: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        values |= {v: np.asarray(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
        read = lambda v: np.asarray(v.val, v.aval.dtype) if hasattr(v, "val") else values[v]
        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(v) for v in equation.invars])
            values |= dict(zip(equation.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[Value]) -> list[Value]:
        if all(0 in v.aval.shape for v in equation.outvars):
            # Empty edges of a pad; a side of 0 would mean "as it was" to ONNX's Reshape.
            return [np.zeros(v.aval.shape, v.aval.dtype) for v in equation.outvars]
        name, parameters = equation.primitive.name, equation.params
        if name in CALLS:
            closed = parameters["call_jaxpr" if "call_jaxpr" in parameters else "jaxpr"]
            inner = getattr(closed, "jaxpr", closed)
            return self.through(inner, getattr(closed, "consts", ()), inputs)
        if all(isinstance(value, np.ndarray) for value in inputs):
            results = equation.primitive.bind(*inputs, **parameters)
            several = equation.primitive.multiple_results
            return [np.asarray(r) for r in (results if several else [results])]
        if name not in NODES:
            raise NoNode(f"the operation {name}")
        return [NODES[name](self, equation, inputs)]

    def serialized(self, inputs: Any, outputs: Any, metadata: dict[str, str]) -> bytes:
        """Returns the model as a file holds it, checked.

        Raises:
          NoNode: an operator is not for the type that it is given.
        """
        import onnx  # pyright: ignore[reportMissingImports]  # An extra.
        from onnx import helper, numpy_helper  # pyright: ignore[reportMissingImports]

        kind = helper.np_dtype_to_tensor_dtype
        described = lambda values: [
            helper.make_tensor_value_info(name, kind(np.dtype(dtype)), shape)
            for name, (shape, dtype) in values.items()
        ]
        nodes = []
        for operator, names, result, attributes in self.nodes:
            if "to" in attributes:
                attributes = {"to": kind(np.dtype(attributes["to"]))}
            nodes.append(helper.make_node(operator, names, [result], **attributes))
        constants = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(
            nodes, "segjax", described(inputs), described(outputs), constants
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, producer_name="segjax", opset_imports=opsets, ir_version=IR_VERSION
        )
        helper.set_model_props(model, metadata)
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = " ".join(str(error).split())
            raise NoNode(f"what ONNX's checker refuses ({reason})") from error
        return model.SerializeToString()
