#!/usr/bin/env bash
# A TPU pod, from your own machine:
#   TPU=my-pod ZONE=us-central2-b WORKDIR=/mnt/disk/run launch/tpu_pod.sh experiments/deeplab_voc.py --data /mnt/disk/VOCdevkit
# Every worker runs the same command; segjax finds the others. The repository must lie in
# ~/segjax on each worker with `pip install -e '.[tpu]'` done, and the data and the workdir on a
# disk that all of them see (ArrayRecord files cannot be opened from gs://).
set -euo pipefail
: "${TPU:?name the TPU}" "${ZONE:?name its zone}" "${WORKDIR:?name a folder that all workers see}"
command=$(printf '%q ' python3 -m segjax.launch "$@" --workdir "$WORKDIR")
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command "cd ~/segjax && $command"
