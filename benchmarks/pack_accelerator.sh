#!/usr/bin/env bash
# Fills build/accelerator with what a GPU machine without a network lacks: wheels, and real data
# made small. Says its size: with the repository it should stay below 64 MiB.
#
#     PYTHON=python3.12 DATA=DIR benchmarks/pack_accelerator.sh
#
# PYTHON is of the version that the machine has, with pip. DIR holds camvid/, isbi2012/ and
# dsb2018/ (images/ and instances/, PNG files of instance ids).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
LIMIT=64
out=build/accelerator
rm -rf "$out"
mkdir -p "$out/wheels"

# What segjax imports and a machine with jax, flax, optax, orbax-checkpoint and torch may lack.
packages=(grain tensorflow-datasets array_record tensorboardX dm-tree immutabledict promise
  simple-parsing docstring_parser tensorflow-metadata toml googleapis-common-protos pydensecrf2
  jaxtyping wadler_lindig flatbuffers cloudpickle termcolor wrapt requests urllib3 certifi
  charset-normalizer portpicker six contourpy pycocotools)
for name in "${packages[@]}"; do
  pinned=$(grep -i "^${name//[-_]/[-_]}==" constraints.txt || echo "$name")
  "$PYTHON" -m pip wheel -q --no-deps -w "$out/wheels" "$pinned" \
    || echo "$pinned cannot be packed: what needs it says so there" >&2
done

if [ -n "${DATA:-}" ]; then
  "$PYTHON" benchmarks/pack_data.py "$DATA" "$out/data"
fi
bytes() { du -bc --files0-from=- | tail -1 | cut -f1; }
packed=$(find "$out" -type f -print0 | bytes)
tree=$(git ls-files -co --exclude-standard -z | bytes)
total=$(((packed + tree + (1 << 20) - 1) >> 20))
echo "$out: $((packed >> 20)) MiB; with the repository $total of $LIMIT MiB"
if [ "$total" -gt "$LIMIT" ]; then
  echo "error: too much; lower the quality of the images in benchmarks/pack_data.py" >&2
  exit 1
fi
