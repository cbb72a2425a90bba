#!/usr/bin/env bash
# One machine, all its devices:
#   launch/local.sh experiments/deeplab_voc.py --data /data/VOCdevkit
# CUDA_VISIBLE_DEVICES=0,1 chooses GPUs; JAX_NUM_CPU_DEVICES=4 splits a CPU, to try out several.
# Ctrl-C and kill (SIGTERM) save the state; the same command resumes.
set -euo pipefail
exec python -m segjax.launch "$@"
