"""DeepLab-LargeFOV (Chen et al., 2014, arXiv:1412.7062) with VGG16 on PASCAL VOC 2012.

The paper, table 1, trained on trainaug: 62.25 mIoU on val without its CRF, 67.64 with it.
Measured here: not yet; the run needs an accelerator and ImageNet weights. This experiment
trains the network. The CRF comes afterwards, as in the paper, with the released settings:
`--evaluate --set "evaluation.predictor=segjax.evaluate.crf.CRF()"`.

The paper's recipe: batch 20, crop 321, 6000 steps, learning rate 0.001, divided by 10 every
2000 steps, ten times higher for the classifier, momentum 0.9, weight decay 5e-4. As in the
released configuration, biases learn twice as fast and do not decay, and images are flipped. The
loss is the mean over the stride-8 map, with the labels of every eighth pixel. fc6 and fc7 start
from VGG16's, of which they keep every third tap and every fourth filter.

Differences: inputs are normalised for torchvision's VGG16; the authors use Caffe's. Training
uses the 1464 images of `train`, so expect a lower score than the paper's. To train on trainaug,
add `--set train_data.split=trainaug`, which needs the folder SegmentationClassAug in the
devkit.

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
