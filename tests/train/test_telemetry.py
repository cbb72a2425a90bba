"""The columns of speed and memory in a run's rows."""

import dataclasses
import json
import pathlib
import runpy
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.experiment import EarlyStop
from segjax.parallel import notes
from segjax.parallel.kept_memory import give_back
from segjax.train import memory as memory_module
from segjax.train import telemetry as telemetry_module
from segjax.train.data_wait import DataWait
from segjax.train.memory import memory
from segjax.train.peaks import PEAKS, VARIABLE, given_peak, peak_seconds
from segjax.train.plan import make_plan
from segjax.train.telemetry import TIMING, Telemetry, slowest_host, without_timing

TERA = 1e12


def step(state, batch):
    return state @ batch["image"][0], {}


@pytest.fixture
def counted():
    """Telemetry of a step of 2 · 4³ FLOPs on batches of two images, after that is counted."""
    with Telemetry(step, batch_size=2) as telemetry:
        watched = telemetry.watched(step)
        watched(jnp.ones((4, 4)), {"image": np.ones((2, 4, 4), np.float32)})
        assert telemetry._counted is not None and telemetry._counted.result(60)
        yield telemetry


def columns(telemetry, monkeypatch, kind="cpu"):
    monkeypatch.setattr(telemetry_module, "device_kind", lambda: kind)
    return telemetry.columns(steps=10, seconds=5.0, held=0.0)


def test_on_a_device_of_unknown_peak_there_are_flops_a_second(counted, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    found = columns(counted, monkeypatch)
    assert found["flops_per_second"] == 2 * 2 * 4**3
    assert found["steps_per_second"] == 2 and found["images_per_second"] == 4
    assert "model_flops_utilisation" not in found


def test_on_a_known_device_there_is_the_utilisation_of_all_devices(counted, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    found = columns(counted, monkeypatch, "TPU v4")
    expected = 2 * 2 * 4**3 / (275 * TERA) / jax.device_count()
    assert found["model_flops_utilisation"] == pytest.approx(expected, rel=1e-3)
    assert "flops_per_second" not in found


def test_the_users_peak_comes_first(counted, monkeypatch):
    monkeypatch.setenv(VARIABLE, "512")
    found = columns(counted, monkeypatch, "TPU v4")
    expected = 2 * 2 * 4**3 / 512 / jax.device_count()
    assert found["model_flops_utilisation"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan", "inf"])
def test_a_peak_that_is_not_a_positive_number_is_refused(text, monkeypatch):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=f"{VARIABLE}={text} must be a positive number"):
        given_peak()


def test_a_step_that_cannot_be_counted_has_no_flops_and_is_taken(monkeypatch):
    def refuse(state, batch):
        raise ValueError("cannot be traced")

    with Telemetry(refuse, batch_size=2) as telemetry:
        taken = telemetry.watched(lambda state, batch: "result")
        assert taken(np.ones(1), {"image": np.ones(2)}) == "result"
        assert telemetry._counted is not None and telemetry._counted.exception(60)
        assert not {"flops_per_second", "model_flops_utilisation"} & {
            *columns(telemetry, monkeypatch)
        }


@pytest.mark.parametrize(
    ("kind", "dtype", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5),
        ("NVIDIA H100 PCIe", "bfloat16", 756.5),
        ("NVIDIA H200", "float32", 494.5),
        ("NVIDIA A100-SXM4-40GB", "float16", 312),
        ("TPU v5 lite", "bfloat16", 197),
        ("TPU v5p", "float32", 459),
        ("TPU v6 lite", "bfloat16", 918),
    ],
)
def test_a_kind_of_device_has_its_makers_peak(kind, dtype, peak, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert peak_seconds({dtype: 3 * peak * TERA}, kind) == pytest.approx(3)


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "TPU v9"])
def test_a_device_without_a_sheet_has_no_peak(kind, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert peak_seconds({"float32": 1}, kind) is None


def test_a_dtype_without_a_peak_gives_none_and_longer_names_stand_first():
    assert peak_seconds({"float64": 1}, "NVIDIA H100 80GB HBM3") is None
    names = list(PEAKS)
    shadowed = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if b.startswith(a)]
    assert not shadowed


def test_the_memory_of_the_process_rises_with_what_it_holds(monkeypatch):
    give_back()  # So that the array is not put where one was before.
    before = memory()
    held = np.ones(40_000_000, np.uint8)
    after = memory()
    if sys.platform == "linux":
        assert after["process_memory_bytes"] - before["process_memory_bytes"] > 30e6
    assert after["process_memory_peak_bytes"] >= 40e6 and held.sum()


def test_without_proc_only_the_peak_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_module, "STATUS", tmp_path / "none")
    found = memory()
    assert (
        set(found) == {"process_memory_peak_bytes"} and found["process_memory_peak_bytes"] > 1e7
    )


def test_the_memory_of_devices_is_that_of_the_fullest(monkeypatch):
    monkeypatch.setattr(
        memory_module, "fullest_memory", lambda: {"bytes_in_use": 5, "peak_bytes_in_use": 9}
    )
    found = memory()
    assert (found["device_memory_bytes"], found["device_memory_peak_bytes"]) == (5, 9)


class Coordinator:
    """The cluster's store of keys, as JAX's client shows it."""

    def __init__(self):
        self.keys: dict[str, str] = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite
        self.keys[key] = value

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.keys.items() if key.startswith(folder)]


def test_the_host_for_which_the_others_wait_is_named(monkeypatch):
    coordinator = Coordinator()
    monkeypatch.setattr(notes, "_client", lambda: coordinator)
    for index, held in ((1, 0.02), (2, 0.72)):
        coordinator.keys[f"segjax/held/{index}"] = json.dumps([f"node{index}", held])
    found = slowest_host(1.0, 0.01)
    assert found["slowest_host"] == "node2 (process 2)"
    assert found["slowest_host_ratio"] == pytest.approx(1 / 0.3, rel=1e-3)
    coordinator.keys["segjax/held/2"] = json.dumps(["node2", 0.02])
    assert slowest_host(1.0, 0.03)["slowest_host_ratio"] == pytest.approx(1.01, abs=0.01)


def test_without_a_cluster_nobody_is_slowest_and_a_lost_coordinator_is_no_error(monkeypatch):
    assert slowest_host(1.0, 0.5) == {}

    class Lost:
        def key_value_set(self, *_, **__):
            raise RuntimeError("UNAVAILABLE")

    monkeypatch.setattr(notes, "_client", Lost)
    assert slowest_host(1.0, 0.5) == {}


def test_the_time_between_two_steps_counts_as_held_but_not_what_came_before_a_row():
    class Step:
        def __init__(self):
            self.done = threading.Event()

        def block_until_ready(self):
            self.done.wait(5)
            return self

    with DataWait() as wait:

        def take_step(seconds=0.0):
            wait.dispatching()
            time.sleep(seconds)
            wait.dispatched(step := Step())
            step.done.set()
            assert wait._end is not None and wait._end.result(5)

        take_step()
        time.sleep(0.05)
        before = time.monotonic()
        take_step()
        assert 0.05 <= wait.take_held() < 0.05 + time.monotonic() - before + 1
        time.sleep(0.05)  # An evaluation, after which the clock starts anew.
        wait.take_held()
        take_step()
        assert wait.take_held() < 0.05
        take_step(0.2)  # On a CPU the call lasts as long as the step.
        assert wait.take_held() < 0.05


def test_every_column_of_telemetry_is_left_out_where_runs_are_compared(counted, monkeypatch):
    for kind in ("cpu", "TPU v4"):
        assert set(columns(counted, monkeypatch, kind)) <= TIMING
    assert without_timing({"step": 1, "loss": 2.0, "images_per_second": 3.0}) == {
        "step": 1,
        "loss": 2.0,
    }


ENDURANCE = pathlib.Path(__file__).parents[2] / "benchmarks" / "endurance.py"


def test_the_benchmark_of_endurance_finds_what_grows():
    benchmark = runpy.run_path(str(ENDURANCE))
    sample, grown = benchmark["Sample"], benchmark["grown"]

    def found(**changes):
        flat = {"memory": 500.0, "files": 10, "threads": 9, "compiled": 18, "traced": 22}
        grows = lambda step: {name: flat[name] + step * by for name, by in changes.items()}
        return grown([sample(step, **flat | grows(step)) for step in range(9)])

    assert found() == []
    assert found(threads=1) == ["threads from 14 to 17"]
    assert found(compiled=1, files=2) == ["files from 20 to 26", "compiled from 23 to 26"]
    assert found(memory=benchmark["MOST_GROWTH"]) == ["memory by 24.0 MiB"]
    assert found(memory=-5.0) == []


def test_a_wrong_peak_and_a_wrong_metric_to_stop_by_are_refused_before_training(monkeypatch):
    tiny = runpy.run_path(str(ENDURANCE.parents[1] / "tests/commands/tiny.py"))["experiment"]
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(InputError, match=VARIABLE):
        make_plan(tiny, note=lambda _: None)
    monkeypatch.delenv(VARIABLE)
    stop = EarlyStop(metric="dice")
    with pytest.raises(InputError, match="stop.metric='dice'"):
        make_plan(dataclasses.replace(tiny, stop=stop), note=lambda _: None)
