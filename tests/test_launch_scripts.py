"""The scripts in `launch/`: they parse, and do what they say with stand-ins for the cluster."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from segjax import launch_options

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
MANIFESTS = sorted(LAUNCH.glob("*.yaml"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_shellcheck_find_nothing_in_a_script(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not on the PATH; it comes with the extra `test`.")
    subprocess.run([shellcheck, script], check=True)


@pytest.fixture
def stand_ins(tmp_path):
    """Makes commands that write their arguments to `calls`, then run a line of bash."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(**bodies: str) -> dict[str, str]:
        for name, body in bodies.items():
            lines = [f'printf "%s\\n" "{name} $*" >>{tmp_path}/calls', body]
            (folder / name).write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
            (folder / name).chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    return make


def calls(tmp_path: pathlib.Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, False),
        (75, 99, True),
        (137, 4, True),
        (137, 5, False),
    ],
)
def test_a_slurm_job_is_requeued_where_the_same_command_goes_on(
    status, restarts, requeued, stand_ins, tmp_path
):
    environment = stand_ins(srun=f"exit {status}", scontrol="")
    environment |= {"SLURM_JOB_ID": "41", "SLURM_RESTART_COUNT": str(restarts)}
    script = [LAUNCH / "slurm.sbatch", "my experiment.py", "--data", "d"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    first, *rest = calls(tmp_path)
    assert first.endswith("python -m segjax.launch my experiment.py --data d")
    assert rest == ["scontrol requeue 41"] * requeued


def test_a_slurm_job_that_is_cancelled_does_not_come_back(stand_ins, tmp_path):
    environment = stand_ins(srun="sleep 2; exit 75", scontrol="") | {"SLURM_JOB_ID": "41"}
    with subprocess.Popen([LAUNCH / "slurm.sbatch", "x.py"], env=environment) as script:
        while not (tmp_path / "calls").is_file():
            time.sleep(0.02)
        script.send_signal(signal.SIGTERM)
    assert script.returncode == 143
    assert len(calls(tmp_path)) == 1


POD = {
    "TPU": "pod",
    "ZONE": "z",
    "TYPE": "v4-32",
    "RUNTIME": "r",
    "WORKDIR": "/w",
    "PAUSE": "0",
}


def pod(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess:
    script = [str(LAUNCH / "tpu_pod.sh"), *arguments]
    return subprocess.run(
        script, env={**environment, **POD}, capture_output=True, text=True, timeout=60
    )


def test_every_worker_of_a_pod_runs_the_same_command(stand_ins, tmp_path):
    environment = stand_ins(gcloud="")
    done = pod("my exp.py", "--set", "model.rates=(1, 2)", environment=environment)
    assert done.returncode == 0, done.stderr
    ssh = "\n".join(calls(tmp_path))
    assert ssh.startswith("gcloud compute tpus tpu-vm ssh pod --zone z --worker=all --command")
    assert r"-m segjax.launch my\ exp.py --set model.rates=\(1\,\ 2\) --workdir /w" in ssh


KEEP = """
case "$*" in
  *describe*) cat {0}/state 2>/dev/null || {{ echo "ERROR: NOT_FOUND: no pod" >&2; exit 1; }} ;;
  *queued-resources\\ create*) echo ACTIVE >{0}/state ;;
  *delete*) rm {0}/state ;;
  *segjax.launch*)
    echo run >>{0}/runs
    case $(wc -l <{0}/runs) in
      1) echo SUSPENDED >{0}/state; exit 255 ;;
      2) echo "segjax ended with status 75"; exit 1 ;;
      *) echo "segjax ended with status {1}"; exit {1} ;;
    esac ;;
esac
"""


@pytest.mark.slow_but("0")
@pytest.mark.parametrize("last", [0, 2])
def test_a_pod_is_made_again_until_its_run_is_done_or_fails(last, stand_ins, tmp_path):
    environment = stand_ins(gcloud=KEEP.format(tmp_path, last))
    done = pod("keep", "x.py", environment=environment)
    assert done.returncode == (1 if last else 0), done.stderr
    asked = ("queued-resources create", "queued-resources delete", "scp", "segjax.launch")
    found = [word for call in calls(tmp_path) for word in asked if word in call]
    create, delete, copy, train = asked
    assert found == [create, copy, train, delete, create, copy, train, copy, train]


FLAKY = """
once() {{ [ -e {0}/$1 ] && return 1; touch {0}/$1; }}
fails() {{ echo "ERROR: UNAVAILABLE" >&2; exit 1; }}
case "$*" in
  *describe*)
    once failed && fails
    [ -e {0}/state ] || {{ echo "ERROR: NOT_FOUND: no pod" >&2; exit 1; }}
    cat {0}/state ;;
  *queued-resources\\ create*) once refused && fails; echo FAILED >{0}/state ;;
  *delete*) once kept && fails; echo ACTIVE >{0}/state ;;
esac
"""


def test_a_failing_gcloud_is_asked_again(stand_ins, tmp_path):
    done = pod("create", environment=stand_ins(gcloud=FLAKY.format(tmp_path)))
    assert done.returncode == 0, done.stderr
    asked = ("describe", "create", "delete")
    found = [word for call in calls(tmp_path) for word in asked if f"resources {word}" in call]
    look, create, delete = asked
    assert found == [look, look, create, look, create, look, delete, look, delete, look]
    assert "UNAVAILABLE" in done.stderr and "NOT_FOUND" not in done.stderr


def test_nothing_is_run_where_the_installation_fails(stand_ins, tmp_path):
    body = 'case "$*" in *describe*) echo ACTIVE ;; *scp*) [ -e {0}/once ] && exit 0; '
    body += "touch {0}/once; exit 1 ;; *segjax.launch*) [ -e {0}/once ] || exit 3 ;; esac"
    done = pod("keep", "x.py", environment=stand_ins(gcloud=body.format(tmp_path)))
    assert done.returncode == 0, done.stderr
    kinds = [
        word for call in calls(tmp_path) for word in ("scp", "segjax.launch") if word in call
    ]
    assert kinds == ["scp", "scp", "segjax.launch"]


# The names of the fields that Kubernetes documents: Job (batch/v1), Pod (v1) and JobSet
# (jobset.x-k8s.io/v1alpha2). Their schemas are not at hand, so types of values are not checked.
FIELDS = {
    "": "apiVersion kind metadata spec",
    "metadata": "name labels annotations",
    "JobSet.spec": "network failurePolicy successPolicy replicatedJobs",
    "network": "enableDNSHostnames subdomain publishNotReadyAddresses",
    "failurePolicy": "maxRestarts rules",
    "failurePolicy.rules": "name action onJobFailureReasons targetReplicatedJobs",
    "replicatedJobs": "name replicas template",
    "replicatedJobs.template": "metadata spec",
    "Job.spec": "completionMode parallelism completions backoffLimit backoffLimitPerIndex "
    "maxFailedIndexes podFailurePolicy template",
    "podFailurePolicy": "rules",
    "podFailurePolicy.rules": "action onExitCodes onPodConditions",
    "onExitCodes": "containerName operator values",
    "onPodConditions": "type status",
    "template": "metadata spec",
    "Pod.spec": "restartPolicy terminationGracePeriodSeconds containers volumes",
    "containers": "name image command args env resources volumeMounts",
    "env": "name value valueFrom",
    "valueFrom": "fieldRef",
    "fieldRef": "fieldPath",
    "resources": "limits requests",
    "volumeMounts": "name mountPath",
    "volumes": "name persistentVolumeClaim",
    "persistentVolumeClaim": "claimName",
}


def unknown_fields(value, kind: str = "") -> list[str]:
    """Fields of a manifest that are none of Kubernetes'."""
    if isinstance(value, list):
        return [name for each in value for name in unknown_fields(each, kind)]
    if not isinstance(value, dict) or kind == "limits":
        return []
    found = [f"{kind}.{name}" for name in value if name not in FIELDS[kind].split()]
    for name, inner in value.items():
        next_kind = {
            ("", "spec"): f"{value.get('kind')}.spec",
            ("replicatedJobs", "template"): "replicatedJobs.template",
            ("replicatedJobs.template", "spec"): "Job.spec",
            ("template", "spec"): "Pod.spec",
            ("failurePolicy", "rules"): "failurePolicy.rules",
            ("podFailurePolicy", "rules"): "podFailurePolicy.rules",
        }.get((kind, name), name)
        found += [] if f"{kind}.{name}" in found else unknown_fields(inner, next_kind)
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_has_kubernetes_fields_and_the_launchers_arguments(path):
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert unknown_fields(manifest) == []
    spec = manifest["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"] if "replicatedJobs" in spec else spec
    pods = job["template"]["spec"]
    (container,) = pods["containers"]
    assert container["command"] == ["python", "-m", "segjax.launch"]
    arguments = launch_options.parser().parse_args(container["args"])
    assert (LAUNCH.parent / arguments.experiment).is_file()
    assert job["completions"] == job["parallelism"] and job["completionMode"] == "Indexed"
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pods["volumes"]
    }
    variables = {entry["name"]: entry.get("value") for entry in container.get("env", ())}
    # What a pod prepares and downloads outlives it only on a volume.
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(variables["SEGJAX_CACHE"].startswith(f"{mount}/") for mount in mounts)
    if manifest["kind"] == "JobSet":
        assert variables["JAX_NUM_PROCESSES"] == str(job["completions"])
        name, inner = manifest["metadata"]["name"], spec["replicatedJobs"][0]["name"]
        host = f"{name}-{inner}-0-0.{spec['network']['subdomain']}"
        assert variables["JAX_COORDINATOR_ADDRESS"].startswith(f"{host}:")
    else:
        assert arguments.share == f"$(JOB_COMPLETION_INDEX)/{job['completions']}"
    handled = {
        status: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for status in rule.get("onExitCodes", {}).get("values", ())
    }
    ends = "FailJob" if manifest["kind"] == "JobSet" else "FailIndex"
    assert handled[1] == handled[2] == ends and handled.get(75) in (None, "Ignore")
