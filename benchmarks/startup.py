"""Measures the time to the first training step, without and with kept programs.

    python benchmarks/startup.py experiments/quickstart.py
    python benchmarks/startup.py experiments/deeplab_resnet50_voc.py --data /data/VOCdevkit \
        --set init=None --set batch_size=2 --set transforms.2.size=129

Each run is the launcher itself in an empty workdir, killed after its first step: once with an
empty cache of programs ("cold"), then twice with what that left ("warm"). Data that segjax
prepares are prepared before. Each row gives seconds since the start of the process: until
Python has imported what the launcher needs, until data and experiment are checked, until the
first step is logged; and the processor's seconds of all its threads, which another program on
the same machine hardly changes.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

IMPORTS = "import segjax.launch, segjax.train.ablation, segjax.train.completion"
PATIENCE = 3600


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("experiment", metavar="EXPERIMENT.py")
    _, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SEGJAX_CACHE": os.environ.get("SEGJAX_CACHE") or folder}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        cache = pathlib.Path(environment["SEGJAX_CACHE"])
        print("| start | imports | checked | first step | processor |")
        print("|---|---|---|---|---|")
        for row in ("(data)", "cold", "warm", "warm"):
            if row in ("(data)", "cold"):
                for programs in cache.glob("programs-*"):
                    shutil.rmtree(programs)
            imports = imported(environment)
            checked, stepped, used = started(sys.argv[1:], environment, folder)
            if row != "(data)":
                times = [f"{each:.1f} s" for each in (imports, checked, stepped, used)]
                print("|", " | ".join([row, *times]), "|", flush=True)


def imported(environment: dict[str, str]) -> float:
    """Seconds of a process that only imports."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], env=environment, check=True)
    return time.monotonic() - began


def started(
    arguments: Sequence[str], environment: dict[str, str], folder: str
) -> tuple[float, float, float]:
    """Seconds of a run until all is checked and until its first step, and the processor's."""
    workdir = pathlib.Path(folder, "run")
    shutil.rmtree(workdir, ignore_errors=True)
    log = pathlib.Path(folder, "log")
    command = [sys.executable, "-m", "segjax.launch", *arguments, "--workdir", str(workdir)]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--set", "log_every=1"], env=environment, stdout=out, stderr=out
        )
    try:
        checked = wait(process, log, lambda: " parameters, " in log.read_text()) - began
        rows = workdir / "metrics.jsonl"
        stepped = (
            wait(process, log, lambda: rows.is_file() and '"loss"' in rows.read_text()) - began
        )
    finally:
        process.kill()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -9
    return checked, stepped, usage.ru_utime + usage.ru_stime


def wait(process: subprocess.Popen, log: pathlib.Path, done) -> float:
    """The moment at which `done()` holds."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        # Not `poll`, which would take the usage of the process from `wait4`.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None or time.monotonic() > deadline:
            raise SystemExit(f"The run ended before its first step:\n{log.read_text()}")
        time.sleep(0.02)
    return time.monotonic()


if __name__ == "__main__":
    main()
