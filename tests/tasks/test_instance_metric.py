"""The metric of instance tasks."""

from segjax.data.synthetic_objects import SyntheticObjects
from segjax.objects import Objects
from segjax.tasks.instance_metric import InstanceMetric

DATA = SyntheticObjects("val", size=48, most=4, least=1)


def test_without_an_image_every_score_is_undefined():
    metric = InstanceMetric(DATA)
    metric.merge(0)
    scores = metric.scores()
    assert metric.shown.keys() <= scores.keys()
    assert all(scores[name] is None for name in metric.shown)


def test_the_truth_itself_scores_1():
    metric = InstanceMetric(DATA)
    for index in range(3):
        metric.add(index, DATA[index], Objects.of_example(DATA[index]))
    metric.merge(3)
    scores = metric.scores()
    assert scores["mask_ap"] == scores["box_ap"] == scores["mask_ap50"] == 1
    assert sum(scores["objects_by_class"].values()) == sum(
        len(DATA[index]["boxes"]) for index in range(3)
    )
    assert set(metric.ranking().values()) == {1.0}
