"""DeepLab-LargeFOV (Chen et al., 2014, arXiv:1412.7062) with VGG16 on PASCAL VOC 2012.

The paper, table 1, trained on trainaug: 62.25 mIoU on val before its CRF, 67.64 after it.
Measured here: not yet; the run needs an accelerator and ImageNet weights. This is the network;
the CRF comes afterwards, as in the paper: `--evaluate --set
evaluation.predictor=segjax.evaluate.crf.CRF()`, whose defaults are the released setting.

The paper's recipe: batch 20, crop 321, 6000 steps from 0.001, a tenth of it every 2000, the
classifier ten times faster; momentum 0.9, weight decay 5e-4; biases twice as fast and not
decayed, flips, as in the released configuration. The loss is the mean over the stride-8 map,
labels of every eighth pixel. fc6 and fc7 are VGG16's, every third tap and every fourth filter.
Inputs are normalised for torchvision's VGG16 where the authors have Caffe's. Here on the 1464
images of `train`, so below that; `--set train_data.split=trainaug` wants SegmentationClassAug
beside the devkit's folders.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_v1_voc.py --data /data/VOCdevkit
"""

from segjax import losses
from segjax.backbones.vgg import DEEPLAB, VGG16
from segjax.data.voc import VOC
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab import DeepLabV1
from segjax.train.optimizer import SGD, Staircase
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.weights import Pretrained

experiment = Experiment(
    name="deeplab_v1_voc",
    model=DeepLabV1(VGG16(output_stride=8, pool=DEEPLAB), num_classes=21),
    normalize=IMAGENET,
    init=Pretrained("timm/vgg16.tv_in1k"),
    train_data=VOC(split="train"),
    eval_data=VOC(split="val"),
    transforms=(RandomCrop(321), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Staircase(1e-3, boundaries=(2000, 4000), factor=0.1),
        momentum=0.9,
        weight_decay=5e-4,
        decay_exclude=("/bias$",),
        multipliers=(("fc8/kernel", 10.0), ("fc8/bias", 20.0), ("/bias$", 2.0)),
    ),
    batch_size=20,
    steps=6000,
    evaluation=Evaluation(every=2000),
)
