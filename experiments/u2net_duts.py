"""U²-Net (Qin et al., 2020, arXiv:2005.09007) on DUTS: salient objects.

The paper reports the maximal F-measure and the mean absolute error of the saliency map on
DUTS-TE. Both are scored here, as `max_f_measure_over_images` and
`mean_absolute_error_over_images`, at the images' own sizes. Measured here: not yet; the run
needs an accelerator.

The released recipe: one plane under a sigmoid, 44,009,869 parameters, from scratch on DUTS-TR
at 320², crops of 288², vertical flips, Adam at 0.001, batch 12, and the sum of seven binary
cross-entropies: that of the fusion and those of the six side outputs. The number of steps,
600,000, is our choice.

Differences: images are normalised by ImageNet's statistics, without a division by their own
maximum first. Entire images are evaluated; the authors resize them to 320². Saliency maps are
scored as they are; the authors stretch each one to its own minimum and maximum. DUTS' masks
have some grey pixels at the borders: those of at least half the brightness count as object.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/u2net_duts.py --data /data/DUTS
"""

from functools import partial

from segjax import losses
from segjax.data.folder import Folder
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.u2net import U2Net
from segjax.tasks.multilabel import Multilabel
from segjax.train.optimizer import AdamW, Constant
from segjax.transforms.geometric import RandomCrop, RandomFlipVertical, Resize

duts = partial(
    Folder,
    class_names=("ground", "object"),
    label_map=((">=128", 1), ("else", 0)),
)

experiment = Experiment(
    name="u2net_duts",
    task=Multilabel(saliency=True),
    model=U2Net(num_classes=1),
    normalize=IMAGENET,
    train_data=duts(images="DUTS-TR/DUTS-TR-Image", masks="DUTS-TR/DUTS-TR-Mask"),
    eval_data=duts(images="DUTS-TE/DUTS-TE-Image", masks="DUTS-TE/DUTS-TE-Mask"),
    transforms=(Resize(320), RandomFlipVertical(), RandomCrop(288)),
    loss=losses.sigmoid_cross_entropy,
    optimizer=AdamW(Constant(1e-3), weight_decay=0.0),
    batch_size=12,
    steps=600_000,
    auxiliary_weight=1.0,
    evaluation=Evaluation(every=20_000),
    checkpoint_every=5000,
)
