"""What the profile of a step reads from a compiled program and from a trace of its runs."""

import pathlib
import re
import sys
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from segjax.ops.conv import conv2d

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    """The two scripts, imported as they find each other when they run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import hlo_text
        import step_profile

        yield hlo_text, step_profile
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_work_of_products_and_convolutions_follows_from_their_shapes(scripts):
    hlo_text, _ = scripts

    def step(image, kernel, matrix):
        y = lax.conv_general_dilated(
            image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.tanh(y).reshape(-1, 7) @ matrix

    arguments = jnp.ones((2, 9, 9, 5)), jnp.ones((3, 3, 5, 7)), jnp.ones((7, 11))
    text = jax.jit(step).lower(*arguments).compile().as_text()
    found = hlo_text.operations(text, package="/tests/").values()
    work = sum(one.multiply_adds for one in found)
    assert work == 2 * 5 * 5 * 7 * 3 * 3 * 5 + 2 * 5 * 5 * 7 * 11
    assert hlo_text.counts(text)["convolution"] == 1
    (convolution,) = [one for one in found if one.kind == "convolution"]
    first = step.__code__.co_firstlineno
    assert convolution.source == f"test_step_profile.py:{first + 1}"


PROGRAM = """HloModule jit_f, is_scheduled=true

FileNames
1 "/site/segjax/ops/a.py"
2 "/site/jax/lax.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=12 end_line=12 column=1 end_column=9}
2 {file_name_id=2 function_name_id=1 line=99 end_line=99 column=1 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%fused (p.1: f32[4,3], q.1: f32[3,5]) -> f32[4,5] {
  %p.1 = f32[4,3]{1,0} parameter(0)
  %q.1 = f32[3,5]{1,0} parameter(1)
  ROOT %dot.1 = f32[4,5]{1,0} dot(%p.1, %q.1), lhs_contracting_dims={1}
}

%fused.2 (p.2: f32[4,3], q.2: f32[3,5]) -> f32[4,5] {
  %p.2 = f32[4,3]{1,0} parameter(0)
  %q.2 = f32[3,5]{1,0} parameter(1)
  ROOT %dot.2 = f32[4,5]{1,0} dot(%p.2, %q.2), lhs_contracting_dims={1}
}

ENTRY %main (x: f32[4,3], y: f32[3,5]) -> (f32[4,5], f32[4,5]) {
  %x = f32[4,3]{1,0} parameter(0)
  %y = f32[3,5]{1,0} parameter(1)
  %dot_fusion.1 = f32[4,5]{1,0} fusion(%x, %y), calls=%fused, metadata={stack_frame_id=2}
  %dot_fusion.2 = f32[4,5]{1,0} fusion(%x, %y), calls=%fused.2, metadata={stack_frame_id=1}
  ROOT %tuple = (f32[4,5]{1,0}, f32[4,5]{1,0}) tuple(%dot_fusion.1, %dot_fusion.2)
}
"""


def test_a_fusion_has_the_work_inside_it_and_the_line_of_the_package_that_called(scripts):
    hlo_text, _ = scripts
    found = hlo_text.operations(PROGRAM)
    assert {*found} == {"x", "y", "dot_fusion.1", "dot_fusion.2", "tuple"}
    assert found["dot_fusion.2"] == ("dot_fusion.2", "dot_fusion", 60, "ops/a.py:12")
    assert hlo_text.distinct_fusions(PROGRAM) == 1
    transposed = PROGRAM.replace("%p.2 = f32[4,3]{1,0}", "%p.2 = f32[4,3]{0,1}")
    assert hlo_text.distinct_fusions(transposed) == 2


Event = namedtuple("Event", "name start_ns duration_ns stats")


def test_an_operation_that_leaves_its_thread_lasts_until_its_end(scripts):
    _, step_profile = scripts
    mine = {"hlo_module": "jit_f"}
    events = [
        Event("dot.1", 100.0, 10.0, {**mine, "hlo_op": "dot.1", "_p": 7}.items()),
        Event("end: dot.1", 150.0, 5.0, {"_c": 7}.items()),
        Event("add.1", 200.0, 30.0, {**mine, "hlo_op": "add.1", "_p": 8}.items()),
        Event("add.2", 200.0, 4.0, {**mine, "hlo_op": "add.2"}.items()),
        Event("add.1", 0.0, 9.0, {"hlo_module": "jit_g", "hlo_op": "add.1"}.items()),
        Event("Execute", 0.0, 900.0, {}.items()),
    ]
    found = sorted(step_profile.spans(events, "jit_f"))
    assert found == [("add.1", 200.0, 230.0), ("add.2", 200.0, 204.0), ("dot.1", 100.0, 155.0)]


def test_operations_that_run_at_the_same_time_share_it(scripts):
    _, step_profile = scripts
    a, b = step_profile.Span("a", 10.0, 20.0), step_profile.Span("b", 14.0, 18.0)
    assert step_profile.shared([a, b]) == [("a", 8.0), ("b", 2.0)]
    assert step_profile.shared([b, b, b]) == [("b", 4 / 3)] * 3
    after, no_time = step_profile.Span("c", 20.0, 21.0), step_profile.Span("d", 11.0, 11.0)
    assert step_profile.shared([after, no_time, a]) == [("c", 1.0), ("d", 0.0), ("a", 10.0)]


def test_a_loop_takes_the_time_of_what_runs_inside_it(scripts):
    hlo_text, step_profile = scripts
    a = jnp.asarray(np.ones((500, 500), np.float32))
    run = lambda a: lax.fori_loop(0, 4, lambda i, x: jnp.tanh(x @ a), a)
    compiled = jax.jit(run).lower(a).compile()
    text = compiled.as_text()
    executed = step_profile.traced(lambda: compiled(a), text)
    kinds = {one.name: one.kind for one in hlo_text.operations(text).values()}
    assert "while" in kinds.values()
    assert {kinds[name] for name, _ in executed if kinds[name] in ("while", "dot")} == {"dot"}


def test_operations_of_a_convolution_name_its_form_in_both_passes(scripts):
    hlo_text, _ = scripts
    loss = lambda x, kernel: jnp.sum(conv2d(x, kernel, padding=1) ** 2)
    arguments = jnp.ones((2, 32, 32, 64)), jnp.ones((3, 3, 64, 64))
    step = jax.jit(jax.grad(loss, (0, 1)))
    text = step.lower(*arguments).compile().as_text()
    operations = hlo_text.operations(text).values()
    named = [one.source for one in operations if one.multiply_adds]
    pattern = r"\((.*), (plain|taps|rows|blocks|winograd)\)$"
    forms = {re.search(pattern, one)[1] for one in named}
    assert forms == {"value", "gradient by x", "gradient by kernel"}


def test_rows_are_of_one_run_and_say_how_far_from_the_peak_they_are(scripts):
    hlo_text, step_profile = scripts
    executed = [("dot_fusion.1", 30.0), ("dot_fusion.2", 50.0), ("copy.3", 6.0)] * 2
    table = step_profile.summed(hlo_text.operations(PROGRAM), executed, runs=2)
    assert table == [
        ("dot_fusion", "ops/a.py:12", 2, 80.0, 120.0),
        ("copy.3", "", 1, 6.0, 0.0),
    ]
    lines = step_profile.lines(table, peak=3e9, run=160.0, most=1)
    assert lines[2] == "| 0.00 | 50.0% | 0.00 | 1.5 | 50% | 2 | dot_fusion | ops/a.py:12 |"
    assert lines[3] == "| 0.00 | 3.8% |  |  |  | 1 | others |  |"


def test_a_trace_names_the_operations_of_the_compiled_program(scripts):
    hlo_text, step_profile = scripts
    a = jnp.asarray(np.ones((300, 300), np.float32))
    compiled = jax.jit(lambda a: jnp.tanh(a @ a)).lower(a).compile()
    text = compiled.as_text()
    executed = step_profile.traced(lambda: compiled(a), text)
    table = step_profile.summed(hlo_text.operations(text), executed, runs=step_profile.RUNS)
    assert sum(row.multiply_adds for row in table) == 300**3
