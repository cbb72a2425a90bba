"""A list of experiments: two variants, one of them with two seeds."""

import dataclasses

from tiny import experiment as tiny

SHORT = dataclasses.replace(tiny, steps=4, checkpoint_every=2, ema=None)
WIDE = SHORT.model.clone(features=5)

experiments = [
    dataclasses.replace(SHORT, name="narrow", seed=0),
    dataclasses.replace(SHORT, name="narrow", seed=1),
    dataclasses.replace(SHORT, name="wide", model=WIDE),
]
