"""Stage train: networks on real data for a given number of minutes, then their scores.

A network's speed is measured first, loading included. As many steps are planned as fit into its
minutes; `segjax.launch` trains, evaluates and reports. The plan is kept beside the run, so the
same command continues a run that was cut off.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from accelerator_rows import Clock, Rows

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[1] / "experiments"
RESNET18 = "model.backbone=segjax.backbones.resnet.ResNet18(output_stride=16)"
HALF_BACKBONE = "model.backbone.dtype=jax.numpy.bfloat16"
HALF = "model.dtype=jax.numpy.bfloat16"
SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "images", "iou")
OVERHEAD = 45
"""Seconds of a network's time that are not training: compilation and evaluation."""

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
        seconds = min(60 * options.minutes_each, clock.left)
        if not options.smoke and seconds < OVERHEAD + 30:
            return
        data = options.data / DATA[name.partition(",")[0]]
        if not data.is_dir():
            yield name, {"error": f"{data.name} is not in {options.data.name}: pack it first"}
            continue
        values = _network(name, data, options, clock)
        if values is None:
            return
        yield name, values


def _network(name: str, data: pathlib.Path, options, clock: Clock) -> dict | None:
    """Returns what a network reached; None where the time was over before its end."""
    experiment, settings = NETWORKS[name]
    settings = (*settings, *(TINY[name] if options.smoke else ()))
    file = EXPERIMENTS / f"{experiment}.py"
    work = options.out.with_suffix("") / "".join(c if c.isalnum() else "_" for c in name)
    plan = _plan(file, data, settings, work, options, clock)
    if plan is None or "error" in plan:
        return plan
    settings = (*settings, *plan["settings"])
    begin = time.monotonic()
    failed = _launch(file, data, settings, work, clock)
    if failed is not None:
        return failed or None
    result = {key: plan[key] for key in ("steps", "batch_size", "images_per_second")}
    result["experiment"], result["settings"] = file.name, list(settings)
    result["train_s"] = round(plan.get("train_s", 0) + time.monotonic() - begin, 1)
    result["val"] = _scores(work)
    shutil.copy(work / "report.html", work.with_suffix(".html"))
    if name.startswith("CamVid"):
        test = ("--evaluate", "--set", "eval_data.split=test")
        if not _launch(file, data, settings, work, clock, *test):
            result["test"] = _scores(work)
    return result


def _plan(file, data, settings, work, options, clock: Clock) -> dict | None:
    """Returns the steps that fit, and the settings that say so; kept beside the run."""
    kept = work.with_suffix(".json")
    if kept.is_file():
        return json.loads(kept.read_text())
    command = [sys.executable, __file__, str(file), str(data), *settings]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=clock.left)
    except subprocess.TimeoutExpired:
        return None
    if found.returncode:
        lines = found.stderr.strip().splitlines() or ["no message"]
        return {"error": lines[-1][:300]}
    speed = json.loads(found.stdout.strip().splitlines()[-1])
    seconds = min(60 * options.minutes_each, clock.left) - OVERHEAD
    steps = 4 if options.smoke else max(100, int(seconds / speed["step_s"]))
    every = max(1, steps // 2)
    changed = (f"steps={steps}", f"evaluation.every={every}", f"checkpoint_every={every}")
    plan = {"steps": steps, "settings": list(changed), **speed}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(plan))
    return plan


def _launch(file, data, settings, work, clock: Clock, *more: str) -> dict | None:
    """Runs `segjax.launch`: None if it ended well, {} if the time was over, or the error."""
    overrides = [part for setting in settings for part in ("--set", setting)]
    where = ["--workdir", str(work), "--data", str(data)]
    launch = [sys.executable, "-m", "segjax.launch", str(file), *where, *overrides, *more]
    # Evaluation of val and of test compile the same programs.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(work.parent / "programs")}
    log = work.with_suffix(".log")
    with log.open("a") as output:
        process = subprocess.Popen(
            launch, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **cache}
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
            return {}
    if status:
        lines = log.read_text().strip().splitlines() or ["no message"]
        return {"error": lines[-1][:300]}
    return None


def _scores(work: pathlib.Path) -> dict:
    evaluation = json.loads((work / "evaluation.json").read_text())
    return {key: evaluation[key] for key in SCORES}


def measure(file: str, data: str, settings: list[str]) -> None:
    """Prints the seconds of a step of an experiment, loading included."""
    import jax

    from segjax import experiment as experiments
    from segjax.parallel import over_devices, replicate, tune_cpu
    from segjax.train.loop import train_step
    from segjax.train.plan import make_plan

    tune_cpu()
    experiment = experiments.load(file)
    for setting in (*experiments.directory_settings(experiment, data), *settings):
        experiment = experiments.override(experiment, setting)
    plan = make_plan(experiment, note=lambda _: None)
    step = over_devices(train_step(plan), split=experiment.split)
    state, batches = replicate(plan.initial_state()), plan.batches(0)
    steps = min(40, experiment.steps)
    state, measured = step(state, next(batches))
    jax.block_until_ready(measured)
    begin, taken = time.perf_counter(), 0
    while taken < steps and time.perf_counter() - begin < 8:
        state, measured = step(state, next(batches))
        jax.block_until_ready(measured)
        taken += 1
    seconds = (time.perf_counter() - begin) / taken
    speed = experiment.batch_size / seconds
    print(
        json.dumps(
            {
                "step_s": seconds,
                "batch_size": experiment.batch_size,
                "images_per_second": round(speed, 1),
            }
        )
    )
    sys.stdout.flush()
    os._exit(0)  # The loader's threads would be waited for.


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], sys.argv[3:])
