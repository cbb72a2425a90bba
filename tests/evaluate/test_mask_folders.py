"""Two folders of masks to one confusion matrix: pairs, ids, and what is refused."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax import metrics
from segjax.errors import InputError
from segjax.evaluate.mask_folders import pair_masks, score_folders
from segjax.tasks.confusion import ConfusionMetric

IDS = np.random.default_rng(3).integers(0, 4, (2, 3, 6, 7), np.uint8)
"""Truth and prediction of three images."""


def save(folder: pathlib.Path, name: str, ids: np.ndarray) -> pathlib.Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(path)
    return path


@pytest.fixture
def folders(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """truth/ and prediction/, empty."""
    pair = tmp_path / "truth", tmp_path / "prediction"
    for folder in pair:
        folder.mkdir()
    return pair


def write(folders, truth, prediction) -> None:
    for folder, images in zip(folders, (truth, prediction), strict=True):
        for i, ids in enumerate(images):
            save(folder, f"below/{i}.png", np.asarray(ids, np.uint8))


def test_the_scores_are_those_of_an_evaluation_of_the_same_maps(folders):
    truth = IDS[0].copy()
    truth[:, 0] = 255
    write(folders, truth, IDS[1])
    metric = ConfusionMetric(("a", "b", "c", "d", "absent"))
    for i in range(3):
        metric.add(i, {"label": truth[i]}, IDS[1, i])
    scored = score_folders(*folders, class_names=("a", "b", "c", "d", "absent"))
    np.testing.assert_array_equal(scored.confusion, metric.confusion)
    assert metric.scores().items() <= scored.scores().items()
    assert scored.ignored == 3 * 7 and scored.images == 3


def test_scores_by_class_equal_their_definitions(folders):
    write(folders, *IDS)
    scores = score_folders(*folders).scores()
    for i in range(4):
        truth, prediction = IDS[0] == i, IDS[1] == i
        both = (truth & prediction).sum()
        name = str(i)
        assert scores["accuracy"][name] == pytest.approx(both / truth.sum())
        assert scores["precision"][name] == pytest.approx(both / prediction.sum())
        dice = 2 * both / (truth.sum() + prediction.sum())
        assert scores["dice"][name] == pytest.approx(dice)
        assert scores["pixels"][name] == truth.sum()


def test_an_ignored_id_in_a_prediction_is_an_error_of_the_true_class_alone(folders):
    truth, prediction = [[[0, 0, 1, 1]]], [[[0, 255, 1, 1]]]
    write(folders, truth, prediction)
    scored = score_folders(*folders, num_classes=2)
    scores = scored.scores()
    assert scores["iou"] == {"0": 0.5, "1": 1.0} and scores["mean_iou"] == 0.75
    assert scores["pixel_accuracy"] == 0.75 and scores["mean_accuracy"] == 0.75
    assert scores["precision"] == {"0": 1.0, "1": 1.0}
    assert scores["unclassified_pixels"] == 1 and scores["classes_in_mean_iou"] == 2


def test_a_truth_of_an_ignored_id_is_not_counted_whatever_is_predicted(folders):
    write(folders, [[[0, 1, 255, 255]]], [[[0, 1, 1, 255]]])
    scored = score_folders(*folders)
    assert scored.confusion.tolist() == [[1, 0], [0, 1]]
    assert scored.ignored == 2 and not scored.unclassified.any()


def test_several_ids_are_ignored_where_they_are_given_and_255_is_then_an_id(folders):
    write(folders, [[[0, 1, 2, 3]]], [[[1, 1, 0, 3]]])
    scored = score_folders(*folders, ignore=(0, 3), num_classes=3)
    assert scored.confusion.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert scored.ignored == 2 and scored.unclassified.tolist() == [0, 0, 1]
    save(folders[0], "below/0.png", np.array([[0, 1, 255, 3]], np.uint8))
    with pytest.raises(InputError, match="has the ids 255, but the 3 classes have ids 0 to 2"):
        score_folders(*folders, ignore=(0, 3), num_classes=3)


def test_masks_are_read_as_datasets_read_them(folders):
    """A palette PNG, 16 bits, and equal colour channels hold the same ids."""
    ids = IDS[0, 0]
    save(folders[0], "a.png", ids)
    palette = Image.fromarray(ids)
    palette.putpalette(list(range(255, -1, -1)) * 3)
    palette.save(folders[1] / "a.png")
    save(folders[0], "b.tif", ids.astype(np.uint16))
    save(folders[1], "b.bmp", np.repeat(ids[..., None], 3, -1))
    assert score_folders(*folders).scores()["mean_iou"] == 1


def test_pages_of_a_file_are_compared_in_order(folders):
    first, second = (Image.fromarray(ids) for ids in IDS[0, :2])
    first.save(folders[0] / "a.tif", save_all=True, append_images=[second])
    first.save(folders[1] / "a.tif", save_all=True, append_images=[second])
    scored = score_folders(*folders)
    expected = metrics.confusion_matrix(IDS[0, :2], IDS[0, :2], 4)
    np.testing.assert_array_equal(scored.confusion, expected)
    first.save(folders[1] / "a.tif")
    with pytest.raises(InputError, match="hold different numbers of images"):
        score_folders(*folders)


def test_without_a_number_the_largest_id_of_either_folder_is_the_last_class(folders):
    write(folders, [[[0, 1]], [[0, 44]]], [[[0, 1]], [[0, 2]]])
    save(folders[0], "below/2.png", np.array([[700]], np.uint16))
    save(folders[1], "below/2.png", np.array([[3]], np.uint8))
    scored = score_folders(*folders)
    assert len(scored.class_names) == 701 and scored.confusion[700, 3] == 1
    assert repr(scored).startswith("MaskScores(3 images, 701 classes, mean IoU 0.")


def test_ids_of_instances_are_refused_with_their_file(folders):
    save(folders[0], "a.png", np.array([[0, 30000]], np.uint16))
    save(folders[1], "a.png", np.array([[0, 1]], np.uint8))
    with pytest.raises(InputError, match=r"truth/a\.png has the ids 30000, and class ids are"):
        score_folders(*folders)


@pytest.mark.parametrize("side", [0, 1])
def test_white_of_black_and_white_masks_is_not_taken_for_void(folders, side):
    maps = [[[[0, 1, 1]]], [[[0, 0, 1]]]]
    maps[side] = [[[0, 255, 255]]]
    write(folders, *maps)
    with pytest.raises(InputError, match=r"looks like the white .* add --label-map 255=1"):
        score_folders(*folders)
    expected = [[1, 0], [1, 1]] if side == 0 else [[1, 0], [0, 2]]
    scored = score_folders(*folders, label_map=((255, 1),))
    assert scored.confusion.tolist() == expected
    if side == 1:
        assert score_folders(*folders, ignore=(255,)).unclassified.tolist() == [0, 2]


def test_void_beside_a_class_or_among_several_classes_is_no_white(folders):
    write(folders, [[[0, 1, 255]]], [[[0, 1, 1]]])
    assert score_folders(*folders).ignored == 1
    write(folders, [[[0, 0, 255]], [[1, 2, 2]]], [[[0, 0, 1]], [[1, 2, 2]]])
    assert score_folders(*folders).ignored == 1


def test_ids_beyond_the_classes_are_named_with_their_file_and_the_remedy(folders):
    write(folders, [[[0, 200]]], [[[0, 1]]])
    message = r"truth/below/0\.png has the ids 200, but the 2 .* for example 200=1, or for grey"
    with pytest.raises(InputError, match=message):
        score_folders(*folders, num_classes=2)
    with pytest.raises(InputError, match=r"label_map leads to 2 in \(200, 2\)"):
        score_folders(*folders, num_classes=2, label_map=((200, 2),))
    with pytest.raises(InputError, match="number of classes must be 2 to 4096, got 1"):
        score_folders(*folders, num_classes=1)


def test_masks_of_black_alone_do_not_say_how_many_classes_there_are(folders):
    write(folders, [[[0, 0]]], [[[0, 0]]])
    with pytest.raises(InputError, match="No id above 0 occurs.*give --classes N"):
        score_folders(*folders)
    assert score_folders(*folders, num_classes=2).scores()["mean_iou"] == 1


def test_a_prediction_of_another_size_is_refused_with_both_sizes(folders):
    save(folders[0], "a.png", IDS[0, 0])
    save(folders[1], "a.png", IDS[0, 0].T)
    with pytest.raises(InputError, match=r"prediction/a\.png is 6x7 pixels, but .* is 7x6"):
        score_folders(*folders)


def test_a_mask_without_a_prediction_is_refused_and_one_without_truth_is_named(folders):
    save(folders[0], "a.png", IDS[0, 0])
    save(folders[1], "a.png", IDS[0, 0])
    overlay = save(folders[1], "a_overlay.png", IDS[0, 0])
    pairs, extra = pair_masks(*folders)
    assert [pair.name for pair in pairs] == ["a"] and extra == [overlay]
    save(folders[0], "b.png", IDS[0, 0])
    save(folders[1], "b_leftImg8bit.png", IDS[0, 0])
    message = r"no prediction for 1 of 2 masks: b; there is .*b_leftImg8bit\.png \(its name"
    with pytest.raises(InputError, match=message):
        pair_masks(*folders)


def test_patterns_pair_masks_whose_names_differ(folders):
    for city in ("aachen", "bonn"):
        save(folders[0], f"{city}/1_gtFine.png", IDS[0, 0])
        save(folders[0], f"{city}/1_color.png", IDS[0, 0])
        save(folders[1], f"{city}/1_leftImg8bit.png", IDS[1, 0])
    patterns = f"{folders[0]}/{{stem}}_gtFine.png", f"{folders[1]}/{{stem}}_leftImg8bit.png"
    pairs, extra = pair_masks(*patterns)
    assert [pair.name for pair in pairs] == ["aachen/1", "bonn/1"] and extra == []
    assert pairs[1].prediction == folders[1] / "bonn/1_leftImg8bit.png"
    assert score_folders(*patterns).images == 2
    (folders[1] / "bonn/1_leftImg8bit.png").rename(folders[1] / "bonn/1.png")
    message = r"1 of 2 masks: bonn/1; there is .*bonn/1\.png \(its name.*pattern such as"
    with pytest.raises(InputError, match=message):
        pair_masks(*patterns)


def test_planes_of_one_class_are_scored_by_their_pattern(folders):
    for name, value in (("cup", 0), ("disc", 1)):
        save(folders[0], f"a_{name}.png", np.array([[0, 1, 1]], np.uint8))
        save(folders[1], f"a_{name}.png", np.array([[0, 1, value]], np.uint8))
    scores = [
        score_folders(*(f"{folder}/{{stem}}_{name}.png" for folder in folders)).scores()
        for name in ("cup", "disc")
    ]
    assert [each["iou"]["1"] for each in scores] == [0.5, 1.0]


def test_predictions_compressed_with_loss_are_refused(folders):
    save(folders[0], "a.png", IDS[0, 0])
    save(folders[1], "a.jpg", IDS[0, 0])
    with pytest.raises(InputError, match=r"a\.jpg is compressed with loss.*use PNG"):
        pair_masks(*folders)


def test_folders_that_are_missing_or_hold_no_mask_are_refused(folders):
    with pytest.raises(InputError, match=r"holds no mask \(\.png"):
        pair_masks(*folders)
    with pytest.raises(InputError, match="There is no folder .*truht, but there is .*truth"):
        pair_masks(folders[0].with_name("truht"), folders[1])
