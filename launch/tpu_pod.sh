#!/usr/bin/env bash
# A TPU pod, from your own machine, with gcloud:
#   export TPU=my-pod ZONE=us-central2-b WORKDIR=/mnt/disk/run TYPE=v4-32 RUNTIME=tpu-ubuntu2204-base
#   launch/tpu_pod.sh create            asks for the pod as a queued resource, and waits for it
#   launch/tpu_pod.sh install           copies this repository to ~/segjax of each worker
#   launch/tpu_pod.sh run experiments/deeplab_voc.py --data /mnt/disk/VOCdevkit
#   launch/tpu_pod.sh keep experiments/deeplab_voc.py --data /mnt/disk/VOCdevkit
#   launch/tpu_pod.sh delete
# `keep` does all but the last, and again whenever the pod is preempted, until the run is done.
# SPOT=1 asks for preemptible capacity. `run` may be left out. All workers must see the data and
# the workdir on one disk (ArrayRecord files cannot be opened from gs://).
set -euo pipefail

# Seconds between two looks at a pod that is not there yet, and between two attempts.
: "${PAUSE:=30}" "${PYTHON:=python3.11}"

queued() { gcloud compute tpus queued-resources "$1" "$TPU" --zone "$ZONE" "${@:2}"; }

workers() { gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "$1"; }

# The pod's state; ABSENT if there is no such pod, UNKNOWN if gcloud could not tell.
state() {
  local errors
  errors=$(mktemp)
  if queued describe --format='value(state.state)' 2>"$errors"; then
    :
  elif grep -q NOT_FOUND "$errors"; then
    echo ABSENT
  else
    cat "$errors" >&2
    echo UNKNOWN
  fi
  rm -f "$errors"
}

again() { echo "gcloud failed: again in $PAUSE s." >&2; }

create() {
  : "${TYPE:?name the accelerator type, such as v4-32}" "${RUNTIME:?name the runtime version}"
  while true; do
    case "$(state)" in
      ACTIVE) return ;;
      ABSENT)
        queued create --node-id "$TPU" --accelerator-type "$TYPE" --runtime-version "$RUNTIME" \
          ${SPOT:+--spot} || again
        ;;
      # A pod that was preempted does not come back; its name is free once it is deleted.
      SUSPENDED | FAILED) delete || again ;;
      UNKNOWN) again ;;
    esac
    sleep "$PAUSE"
  done
}

install() {
  local archive
  archive=$(mktemp -d)/segjax.tar.gz
  # The images of TPUs bring an older Python than segjax needs.
  git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$archive" HEAD &&
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:segjax.tar.gz" --zone "$ZONE" --worker=all &&
    workers "set -e; mkdir -p ~/segjax; tar xzf segjax.tar.gz -C ~/segjax; cd ~/segjax
      command -v $PYTHON || { sudo apt-get update -q; sudo apt-get install -qy $PYTHON-venv; }
      $PYTHON -m venv .venv; .venv/bin/pip install -q -e '.[tpu]' -c constraints.txt"
}

run() {
  : "${WORKDIR:?name a folder that all workers see}"
  local command
  command=$(printf '%q ' -m segjax.launch "$@" --workdir "$WORKDIR")
  # The last line tells `keep` how a worker ended: gcloud has a status of its own.
  workers "cd ~/segjax; python=.venv/bin/python; [ -x \$python ] || python=python3
    \$python $command; status=\$?; echo \"segjax ended with status \$status\"; exit \$status"
}

keep() {
  local log
  log=$(mktemp)
  while true; do
    create
    if install && run "$@" 2>&1 | tee "$log"; then
      break
    elif grep -qE 'segjax ended with status (1|2)$' "$log"; then
      echo "The run failed; it is not started again." >&2
      exit 1
    fi
    echo "The run stopped early, or the pod was preempted: again in $PAUSE s." >&2
    : >"$log"
    sleep "$PAUSE"
  done
}

delete() { queued delete --force --quiet; }

: "${TPU:?name the TPU}" "${ZONE:?name its zone}"
case "${1-}" in
  create | install | run | keep | delete) "$@" ;;
  *) run "$@" ;;
esac
