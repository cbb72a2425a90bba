"""Predictions one at a time, results that are held and let go, what they say together."""

import io
import pathlib
import runpy
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image

from segjax.errors import RunError
from segjax.page import service as services
from segjax.page.limits import Limits, Refused
from segjax.page.service import Service

LOCAL = runpy.run_path(str(pathlib.Path(__file__).with_name("local_server.py")))
brightest, encoded, photo, Brightest, PATIENCE = (
    LOCAL[name] for name in ("brightest", "encoded", "photo", "Brightest", "PATIENCE")
)


def test_small_images_are_predicted_as_they_are_and_large_ones_at_the_side():
    service = Service([brightest()], Limits(side=20))
    small = service.predict(encoded(photo()[:18, :19]))
    np.testing.assert_array_equal(small.image, photo()[:18, :19])
    assert small.masks[0] is small.labels[0]
    large = service.predict(encoded(photo()))
    assert large.labels[0].shape == (12, 20) and large.masks[0].shape == (24, 40)
    np.testing.assert_array_equal(large.labels[0][:, :10], 1)
    np.testing.assert_array_equal(large.masks[0][:, :20], 1)
    whole = Service([brightest()], Limits(side=None)).predict(encoded(photo()))
    np.testing.assert_array_equal(whole.image, photo())


def test_a_grey_run_beside_one_in_colour_sees_the_image_in_grey():
    class Grey(Brightest):
        def __call__(self, variables, images):
            assert images.shape[-1] == 1
            return super().__call__(variables, np.repeat(images, 3, axis=-1))

    grey = brightest("grey", predict=Grey())
    object.__setattr__(grey, "channels", 1)
    result = Service([brightest(), grey], Limits()).predict(encoded(photo()))
    assert not result.labels[1].any() and result.labels[0].any()
    np.testing.assert_array_equal(result.image, photo())


class Gate(Brightest):
    """Lets a prediction through when it is told to, and counts those that are inside."""

    def __init__(self):
        self.inside, self.most, self.open = 0, 0, threading.Event()

    def __call__(self, variables, images):
        self.inside += 1
        self.most = max(self.most, self.inside)
        assert self.open.wait(PATIENCE)
        self.inside -= 1
        return super().__call__(variables, images)


def test_predictions_wait_for_one_another_and_those_beyond_the_queue_are_sent_away():
    gate = Gate()
    service = Service([brightest(predict=gate)], Limits(waiting=2))
    threads = [
        threading.Thread(target=service.predict, args=(encoded(photo()),)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while service._places._value:  # Until all three are in the queue.
        assert time.monotonic() < end
        time.sleep(0.005)
    with pytest.raises(Refused, match="3 other images are waiting") as refused:
        service.predict(encoded(photo()))
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert gate.most == 1
    assert service.predict(encoded(photo())).labels[0].any()


def test_an_image_that_is_refused_gives_its_place_back():
    service = Service([brightest()], Limits(waiting=0))
    for _ in range(3):
        with pytest.raises(Refused, match="is empty"):
            service.predict(b"")
    service.predict(encoded(photo()))


def test_the_oldest_results_go_when_there_are_too_many_or_too_many_bytes():
    service = Service([brightest()], Limits(held=1))
    size = service.predict(encoded(photo())).bytes
    assert size == 24 * 40 * (3 + 1 + 3 * 2)
    for limits in (Limits(held=2 * size), Limits(results=2)):
        service = Service([brightest()], limits)
        keys = [service.predict(encoded(photo())).key for _ in range(3)]
        assert [service.find(key).key for key in keys[1:]] == keys[1:]
        with pytest.raises(Refused, match="no longer in memory: predict the image again"):
            service.find(keys[0])


def test_programs_are_dropped_after_so_many_sizes_and_not_for_a_known_one(monkeypatch):
    dropped = []
    monkeypatch.setattr(services, "MOST_PROGRAMS", 2)
    monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(True))
    service = Service([brightest()], Limits(side=40))
    for sides in [(9, 9), (20, 10), (9, 9), (80, 40), (40, 20)]:
        service.predict(encoded(np.zeros((*sides, 3), np.uint8)))
    assert len(dropped) == 1
    service.predict(encoded(np.zeros((10, 20, 3), np.uint8)))
    assert len(dropped) == 1
    service.predict(encoded(np.zeros((9, 9, 3), np.uint8)))
    assert len(dropped) == 2


def test_what_is_done_is_said_while_it_is_done_and_compiling_only_once_a_size():
    class Listening(Brightest):
        def __call__(self, variables, images):
            said.append(service.doing)
            return super().__call__(variables, images)

    said: list[str] = []
    service = Service([brightest("one", predict=Listening()), brightest("two")], Limits())
    for image in (photo(), photo(), photo()[:9]):
        service.predict(encoded(image))
        assert service.doing == ""
    assert said == [
        "Compiling one for images of 40 × 24 pixels",
        "one predicts images of 40 × 24 pixels",
        "Compiling one for images of 40 × 9 pixels",
    ]


@pytest.mark.parametrize("error", [ValueError("sides must be odd"), RunError("scores are NaN")])
def test_what_the_network_refuses_is_told_in_a_line_and_the_next_image_is_predicted(error):
    class Particular(Brightest):
        def __call__(self, variables, images):
            if images.shape[1] % 2 == 0:
                raise error
            return super().__call__(variables, images)

    service = Service([brightest(predict=Particular())], Limits(waiting=0))
    with pytest.raises(Refused, match=str(error)) as refused:
        service.predict(encoded(photo()))
    assert refused.value.status == 422 and service.doing == ""
    assert service.predict(encoded(photo()[:9])).labels[0].any()


def test_classes_are_those_of_the_probabilities_before_they_are_rounded_to_be_held():
    class Close(Brightest):
        def __call__(self, variables, images):
            scores = np.full((*images.shape[:3], 3), 1 / 3, np.float32)
            scores[..., 2] += 1e-6
            return scores

    result = Service([brightest(predict=Close())], Limits()).predict(encoded(photo()))
    assert result.probabilities[0].dtype == np.float16 and (result.labels[0] == 2).all()


def test_the_image_is_upright_in_the_result():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(photo()).save(data, "PNG", exif=exif)
    result = Service([brightest()], Limits()).predict(data.getvalue())
    np.testing.assert_array_equal(result.image, np.rot90(photo(), -1))
