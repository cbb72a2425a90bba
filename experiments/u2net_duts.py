"""U²-Net (Qin et al., 2020, arXiv:2005.09007) on DUTS: salient objects.

The paper reports, on DUTS-TE, the maximal F-measure (0.873, as remembered) and the mean
absolute error of the saliency map (0.044, as remembered); both are scored here, by
`max_f_measure_over_images` and `mean_absolute_error_over_images`, at the images' own sizes.
Measured here: not yet; the run needs an accelerator.

The authors' recipe: one plane under a sigmoid, 44,009,869 parameters, from scratch on DUTS-TR's
10,553 images at 320², crops of 288², flips upside down, Adam at 0.001, batch 12, the sum of
seven binary cross-entropies: the fusion's and the six side outputs'. 600,000 steps are the
paper's as remembered. Where it differs: images are normalised by ImageNet's statistics alone,
not by their own maximum first; whole images are evaluated, not resized to 320²; and saliency
maps are scored as they are, while the authors stretch each to its own minimum and maximum.
DUTS' masks have some grey pixels at the borders: half of white is an object.

Cost: made for an accelerator; the authors say about 120 hours, as remembered.

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
