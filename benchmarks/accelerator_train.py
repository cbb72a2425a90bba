"""Stage train: networks on real data for a given number of minutes, then their scores.

A network's speed is measured first, loading included. As many steps are planned as fit into its
minutes; `segjax.launch` trains, evaluates and reports. Plan and run stay in `--work`, so the
same command continues a run that was cut off, on the same machine.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from accelerator_rows import Clock, Rows, TimeOver

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[1] / "experiments"
RESNET18 = "model.backbone=segjax.backbones.resnet.ResNet18(output_stride=16)"
HALF_BACKBONE = "model.backbone.dtype=jax.numpy.bfloat16"
HALF = "model.dtype=jax.numpy.bfloat16"
SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "images", "iou")
OVERHEAD = 75
"""Seconds of a network's time that are not training: compilation and evaluation."""

READ_AHEAD = 24
"""Batches that may be there before they are asked for: not part of the speed."""

NETWORKS = {
    "CamVid, DeepLab v3+ ResNet-18": ("deeplab_v3_plus_camvid", (RESNET18, HALF_BACKBONE)),
    "CamVid, FC-DenseNet-56": (
        "fc_densenet_camvid",
        ("model=segjax.models.fc_densenet.FCDenseNet56(num_classes=11)", HALF),
    ),
    "CamVid, U-Net": ("unet_camvid", ("model.features=32", HALF, "batch_size=16")),
    "ISBI 2012, U-Net": ("unet_isbi", (HALF,)),
    "DSB 2018, U-Net": ("unet_nuclei", (HALF,)),
    "CamVid, DeepLab v3+ ResNet-50": ("deeplab_v3_plus_camvid", (HALF_BACKBONE,)),
    "CamVid, FC-DenseNet-103": ("fc_densenet_camvid", (HALF,)),
}
"""Experiment and overrides, most wanted first."""

THREADS = ("loader.threads=16", "loader.buffer=8")
"""For a machine with many cores: the GPU should not wait for images."""

TINY = {
    "CamVid, DeepLab v3+ ResNet-18": (
        "model=segjax.models.unet.UNet(11,depth=2,features=4,batch_norm=True)",
        *("transforms.1.size=65", "batch_size=2", "optimizer.schedule.warmup_steps=1"),
    ),
}
"""Further overrides, under `--smoke`."""

DATA = {"CamVid": "camvid", "ISBI 2012": "isbi2012", "DSB 2018": "dsb2018"}


def names(options) -> list[str]:
    """Returns the rows' names, most wanted first."""
    return list(TINY if options.smoke else NETWORKS)


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, scores), as long as there is time."""
    for name in left:
        if clock.left < (10 if options.smoke else OVERHEAD + 30):
            return
        data = options.data / DATA[name.partition(",")[0]]
        if not data.is_dir():
            yield name, {"error": f"{data.name} is not in {options.data.name}: pack it first"}
            continue
        try:
            yield name, _network(name, data, options, clock)
        except TimeOver:
            return
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            yield name, {"error": f"{type(error).__name__}: {error}"[:300]}


def _network(name: str, data: pathlib.Path, options, clock: Clock) -> dict:
    """Returns what a network reached on val and, where there is one, on test."""
    experiment, settings = NETWORKS[name]
    settings = (*settings, *(TINY[name] if options.smoke else THREADS))
    file = EXPERIMENTS / f"{experiment}.py"
    key = json.dumps([name, settings, options.smoke, options.minutes_each])
    title = "_".join(re.findall(r"[A-Za-z0-9]+", name))
    work = options.work / f"{title}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    plan = _plan(file, data, settings, work, options, clock)
    settings = (*settings, *plan["settings"])
    begin = time.monotonic()
    _launch(file, data, settings, work, clock)
    result = {"steps": plan["steps"], "batch_size": plan["batch_size"]}
    result["images_per_second"] = _speed(work, plan)
    result["experiment"], result["settings"] = file.name, list(settings)
    result["launch_s"] = round(time.monotonic() - begin, 1)
    result["val"] = _scores(work)
    shutil.copy(work / "report.html", options.out.parent / f"{title}.html")
    if name.startswith("CamVid"):
        _launch(
            file, data, settings, work, clock, "--evaluate", "--set", "eval_data.split=test"
        )
        result["test"] = _scores(work)
    return result


def _plan(file, data, settings, work, options, clock: Clock) -> dict:
    """Returns the steps that fit, and the settings that say so; kept beside the run."""
    kept = work.with_suffix(".json")
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    command = [sys.executable, __file__, str(file), str(data), *settings]
    begin = time.monotonic()
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=clock.left, env=_environment(work)
        )
    except subprocess.TimeoutExpired:
        raise TimeOver from None
    if found.returncode:
        lines = found.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(lines[-1])
    speed = json.loads(found.stdout.strip().splitlines()[-1])
    left = min(60 * options.minutes_each - (time.monotonic() - begin), clock.left) - OVERHEAD
    steps = 4 if options.smoke else int(left / speed["step_s"])
    if steps < 1:
        raise TimeOver
    # The schedules' first steps are a rising learning rate.
    steps = max(steps, 4 if options.smoke else 100)
    every = max(1, steps // 2)
    changed = (f"steps={steps}", f"evaluation.every={every}", f"checkpoint_every={every}")
    plan = {"steps": steps, "settings": list(changed), **speed}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(plan), encoding="utf-8")
    return plan


def _environment(work: pathlib.Path) -> dict[str, str]:
    """Speed test, training and evaluation compile some programs that are the same."""
    return {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(work.parent / "programs")}


def _launch(file, data, settings, work, clock: Clock, *more: str) -> None:
    """Runs `segjax.launch` to its end.

    Raises:
      TimeOver: it was interrupted, and has saved its state.
      RuntimeError: it failed; the last line that it said.
    """
    overrides = [part for setting in settings for part in ("--set", setting)]
    where = ["--workdir", str(work), "--data", str(data)]
    launch = [sys.executable, "-m", "segjax.launch", str(file), *where, *overrides, *more]
    log = work.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            launch, stdout=output, stderr=subprocess.STDOUT, env=_environment(work)
        )
        try:
            status = process.wait(max(clock.left, 1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise TimeOver from None
    if status:
        lines = log.read_text(encoding="utf-8").strip().splitlines() or ["no message"]
        raise RuntimeError(lines[-1])


def _speed(work: pathlib.Path, plan: dict) -> float:
    """Returns images a second in the run's own rows; of a short run, as it was planned."""
    with (work / "metrics.jsonl").open(encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if "images_per_second" in row]
    # The first row has the compilation in it.
    found = [row["images_per_second"] for row in rows[1:]]
    return round(statistics.median(found), 1) if found else plan["images_per_second"]


def _scores(work: pathlib.Path) -> dict:
    evaluation = json.loads((work / "evaluation.json").read_text(encoding="utf-8"))
    return {key: evaluation[key] for key in SCORES}


def measure(file: str, data: str, settings: list[str]) -> None:
    """Prints the seconds of a step of an experiment, loading included."""
    from segjax import experiment as experiments
    from segjax.parallel.cluster import tune_cpu
    from segjax.parallel.data import replicate
    from segjax.parallel.sharing import over_devices
    from segjax.settings import directory_settings
    from segjax.train.loop import train_step
    from segjax.train.plan import make_plan

    tune_cpu()
    experiment = experiments.load(file)
    for setting in (*directory_settings(experiment, data), *settings):
        experiment = experiments.override(experiment, setting)
    plan = make_plan(experiment, note=lambda _: None)
    step = over_devices(train_step(plan), split=experiment.split)
    state, batches = replicate(plan.initial_state()), plan.batches(0)
    for _ in range(READ_AHEAD):
        state, measured = step(state, next(batches))
    bool(measured["finite"])
    begin, taken = time.perf_counter(), 0
    while time.perf_counter() - begin < 6:
        before = measured
        state, measured = step(state, next(batches))
        bool(before["finite"])  # One step late, as the training loop reads it.
        taken += 1
    bool(measured["finite"])
    seconds = (time.perf_counter() - begin) / taken
    size = experiment.batch_size
    said = {
        "step_s": seconds,
        "batch_size": size,
        "images_per_second": round(size / seconds, 1),
    }
    print(json.dumps(said), flush=True)
    os._exit(0)  # The loader's threads would be waited for.


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], sys.argv[3:])
