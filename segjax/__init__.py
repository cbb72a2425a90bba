"""Semantic segmentation in JAX and Flax, as pure functions.

Start reading at `experiments/deeplab_voc.py`, then `segjax/models/deeplab_v3.py`, then
`segjax/train/step.py`. Import what you need from its module; this file stays empty.
"""
