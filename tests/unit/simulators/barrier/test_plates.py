"""Plates of simulated vehicles, and how cameras misread them."""

import random

from cloud.parking.stays.likeness import confusable
from simulators.barrier.plates import misread, random_vehicle


def test_a_misread_plate_is_one_that_cameras_take_for_it() -> None:
    chance = random.Random(3)
    plates = [random_vehicle(chance).plate for _ in range(200)]
    read = [(plate, misread(plate, chance)) for plate in plates]
    assert all(plate == other or confusable(plate, other) for plate, other in read)
    assert sum(plate != other for plate, other in read) > 100


def test_a_plate_without_a_sign_that_looks_like_another_is_read_well() -> None:
    assert misread("京A13467", random.Random(1)) == "京A13467"
