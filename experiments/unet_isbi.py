"""U-Net (Ronneberger et al., 2015, arXiv:1505.04597) on the ISBI 2012 membranes.

The paper's network and recipe: valid convolutions, 572² → 388², 31,030,658 parameters, momentum
0.99, one image a step, elastic deformations on a 3 × 3 grid of 10 pixels, mirrored borders. The
paper's scores (warping error 0.000353, Rand error 0.0382) are the challenge's, on its hidden
test set. Here the last six of the 30 labelled sections are held out and scored by mIoU. For
comparison, predicting "cell" everywhere has pixel accuracy 0.780, and the best grey threshold
0.815. Measured here: not yet; the run needs an accelerator.

The border weight map (w0 = 10, sigma = 5) is the paper's for touching cells. To use it, append
`BorderWeights()` of `segjax.transforms.border` to the transforms, or replace the last one by
`--set "transforms.5=segjax.transforms.border.BorderWeights()"`.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/unet_isbi.py --data /data/isbi2012
"""

from segjax import losses
from segjax.data.isbi import ISBI2012
from segjax.experiment import Evaluation, Experiment, Normalize
from segjax.models.unet import UNet
from segjax.train.optimizer import SGD, Constant
from segjax.transforms.color import ColorJitter
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.geometric import MirrorPad, RandomCrop, RandomFlip, RandomFlipVertical

experiment = Experiment(
    name="unet_isbi",
    model=UNet(num_classes=2, valid=True, dropout=0.5),
    normalize=Normalize(mean=(0.5,), std=(0.25,)),
    train_data=ISBI2012(split="train"),
    eval_data=ISBI2012(split="val"),
    transforms=(
        MirrorPad(92),
        RandomCrop(572, fill=0),
        RandomElastic(),
        ColorJitter(brightness=0.2, contrast=0.2),
        RandomFlipVertical(),
        RandomFlip(),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Constant(1e-3, warmup_steps=100), momentum=0.99),
    batch_size=1,
    steps=20_000,
    evaluation=Evaluation(batch_size=1),
)
