"""Losses on CamVid's 11 classes: cross-entropy, weighted, with Dice, Lovász, hard pixels.

The network is that of `deeplab_camvid.py` at output stride 8. Images are shrunk to 240 × 180,
for training and for evaluation; scores are of the 101 val frames at 480 × 360. Everything but
the loss is equal in all variants:

* `cross_entropy`: the mean over pixels.
* `class_weights`: a pixel counts by the median of all classes' frequencies, divided by that of
  its class (SegNet, arXiv:1511.00561). A class's frequency is its share of the pixels of those
  training images in which it occurs, measured on the 367 training frames.
* `dice`: cross-entropy plus the Dice loss of the batch (V-Net, arXiv:1606.04797).
* `lovasz`: cross-entropy plus the Lovász-softmax loss of each image (arXiv:1705.08790).
* `ohem`: cross-entropy of pixels with a probability below 0.7 (arXiv:1604.03540), and of at
  least a sixteenth of each image's pixels.

Measured here, mean IoU over the seeds: 0.348 ± 0.039 with `cross_entropy`, 0.353 ± 0.023 with
`class_weights`, 0.374 ± 0.034 with `dice`, 0.345 ± 0.020 with `lovasz`, 0.348 ± 0.042 with
`ohem`; `docs/guides/losses.md` has more. Cost: fifteen runs of about 4 minutes on two cores.

    python -m segjax.launch experiments/ablations/losses_camvid.py --data /data/camvid
"""

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.camvid import CamVid
from segjax.evaluate.longest_side import LongestSide
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale, ShrinkTo

# Sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist.
MEDIAN_FREQUENCY = (
    *(0.2793, 0.2017, 4.7865, 0.149, 1.0, 0.4217),
    *(3.8467, 1.9736, 0.7889, 6.3747, 8.8587),
)
CROSS_ENTROPY = (losses.softmax_cross_entropy, 1.0)
VARIANTS = {
    "cross_entropy": losses.softmax_cross_entropy,
    "class_weights": losses.ClassWeightedCrossEntropy(MEDIAN_FREQUENCY),
    "dice": losses.Sum((CROSS_ENTROPY, (losses.Dice(over="batch"), 1.0))),
    "lovasz": losses.Sum((CROSS_ENTROPY, (losses.LovaszSoftmax(), 1.0))),
    "ohem": losses.OHEMCrossEntropy(threshold=0.7, min_kept=0.0625),
}

experiments = [
    Experiment(
        name=name,
        model=DeepLabV3(
            ResNet(stages=(1, 1, 2, 1), block=BasicBlock, width=32, output_stride=8),
            num_classes=11,
            rates=(3, 6, 9),
            features=64,
            dropout=0.1,
            extra_conv=False,
        ),
        normalize=IMAGENET,
        train_data=CamVid(split="train"),
        eval_data=CamVid(split="val"),
        transforms=(
            ShrinkTo(240),
            RandomScale(0.8, 1.4),
            RandomCrop((176, 240)),
            RandomFlip(),
        ),
        loss=loss,
        optimizer=AdamW(Cosine(2e-3, warmup_steps=50), weight_decay=1e-2),
        batch_size=4,
        steps=250,
        seed=seed,
        evaluation=Evaluation(batch_size=8, predictor=LongestSide(240)),
        checkpoint_every=250,
    )
    for name, loss in VARIANTS.items()
    for seed in (0, 1, 2)
]
