"""SegNet (Badrinarayanan, Kendall, Cipolla, 2015, arXiv:1511.00561) on CamVid's 11 classes.

As quoted in FC-DenseNet's table 3: 46.4 mIoU, 62.5 pixel accuracy on the 233 test frames, void
ignored. Measured here: not yet; the run needs an accelerator and ImageNet weights for the
encoder's convolutions (`--set init=None` trains from scratch).

The released solver's recipe: entire frames of 480 × 360, batch 4, a constant learning rate of
0.001, twice that for the convolutions' biases, which do not decay, weight decay 5e-4, 40,000
steps, no augmentation. A class weighs by the median of all classes' frequencies, divided by its
own.

Differences: the loss is divided by the sum of the weights instead of the number of pixels,
which makes a step larger where frequent classes weigh little. Inputs are normalised for
torchvision's VGG16; Caffe's network reads 0 … 255. Statistics are running averages; the authors
recompute them over the training set. The best checkpoint is chosen by the 101 val frames. To
score the test frames afterwards: `--workdir runs/segnet_camvid --evaluate --set
eval_data.split=test`.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/segnet_camvid.py --data /data/camvid
"""

from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.losses import ClassWeightedCrossEntropy
from segjax.models.segnet import SegNet
from segjax.train.optimizer import SGD, Constant
from segjax.weights import Pretrained

# Sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist.
WEIGHTS = (
    *(0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826),
    *(9.6446, 1.8418, 0.6823, 6.2478, 7.3614),
)

experiment = Experiment(
    name="segnet_camvid",
    model=SegNet(num_classes=11),
    normalize=IMAGENET,
    init=Pretrained("timm/vgg16.tv_in1k", allow=("_bn/", "_D/")),
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    loss=ClassWeightedCrossEntropy(WEIGHTS),
    optimizer=SGD(
        Constant(1e-3),
        momentum=0.9,
        weight_decay=5e-4,
        decay_exclude=("/bias$",),
        multipliers=((r"\d(_D)?/bias$", 2.0),),
    ),
    batch_size=4,
    steps=40_000,
    evaluation=Evaluation(every=2000),
)
