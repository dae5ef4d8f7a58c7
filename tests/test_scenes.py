"""The synthetic scenes that the motion prior learns from."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from graph_module.extensions.motion_prior import round_trip_error
from ike_tools.scenes.layers import Layer, Sway
from ike_tools.scenes.motion import HEIGHT, STILL, WIDTH, shifted, similarity
from ike_tools.scenes.rendering import layer_flow, render
from ike_tools.scenes.samples import draw_sample, round_trip
from ike_tools.scenes.scene import Scene
from ike_tools.scenes.shards import make_shard, open_shards, shard_path
from ike_tools.scenes.textures import draw_paint

SQUARE = np.array([[100, 80], [180, 80], [180, 160], [100, 160]], float)


def scene_of_a_square(motion, is_object=True, **settings) -> Scene:
    rng = np.random.default_rng(1)
    background = Layer(draw_paint(rng), STILL)
    square = Layer(draw_paint(rng), motion, SQUARE, is_object=is_object, **settings)
    return Scene([background, square])


def test_flow_and_mask_of_a_square_that_moves_by_a_known_amount():
    scene = scene_of_a_square(shifted(np.array([6.0, -2.0])))
    rng = np.random.default_rng(2)
    middle, after = render(rng, scene, 0), render(rng, scene, 1)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[82:159, 102:179] = True
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[78:163, 98:183] = False
    assert (middle.mask[inside] == 1).all()
    assert (middle.mask[outside] == 0).all()
    to_next = layer_flow(scene, middle.owner, 0, 1)
    np.testing.assert_allclose(to_next[inside], np.tile([6, -2], (inside.sum(), 1)), atol=1e-4)
    np.testing.assert_allclose(to_next[outside], 0, atol=1e-4)
    from_next = layer_flow(scene, after.owner, 1, 0)
    moved = np.roll(inside, (-2, 6), (0, 1))
    np.testing.assert_allclose(from_next[moved], np.tile([-6, 2], (moved.sum(), 1)), atol=1e-4)
    # The picture moves as its flow says.
    shown = middle.image[inside].astype(int) - after.image[moved]
    assert np.abs(shown).mean() < 6


def test_flow_of_a_square_that_turns():
    centre = np.array([140.0, 120.0])
    turn = similarity(np.zeros(2), 0.1, 1.0, centre)
    scene = scene_of_a_square(STILL._replace(to_next=turn, to_previous=np.linalg.inv(turn)))
    view = render(np.random.default_rng(2), scene, 0)
    flow = layer_flow(scene, view.owner, 0, 1)
    # 30 pixels to the right of the centre, a turn goes down by 30 sin, and left by 30 (1 - cos).
    np.testing.assert_allclose(
        flow[120, 170], [30 * (np.cos(0.1) - 1), 30 * np.sin(0.1)], rtol=1e-4
    )


def test_the_picture_goes_with_the_flow_where_parts_of_a_layer_move_apart():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    sway = Sway(np.dstack([4 * np.sin(rows / 60), 2 * np.cos(columns / 80)]), back=-0.5)
    pan = shifted(np.array([3.0, 1.0]))
    scene = Scene([Layer(draw_paint(np.random.default_rng(1)), pan, sway=sway)])
    rng = np.random.default_rng(2)
    images = {}
    for step in (-1, 0, 1):
        image = render(rng, scene, step).image.astype(np.float32)
        images[step] = image / image.mean()  # frames differ in exposure
    owner = np.zeros((HEIGHT, WIDTH), int)
    inside = (slice(10, -10), slice(10, -10))
    for start, end in [(0, 1), (1, 0), (0, -1), (-1, 0)]:
        flow = layer_flow(scene, owner, start, end).astype(np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        there = cv2.remap(images[end], x, y, cv2.INTER_LINEAR)
        with_flow, without = (np.abs(i - images[start])[inside] for i in (there, images[end]))
        assert with_flow.mean() < 0.35 * without.mean()


@pytest.mark.parametrize("settings", [{"is_object": False}, {"is_object": False, "opacity": 0.5}])
def test_what_is_no_object_is_not_in_the_mask(settings):
    scene = scene_of_a_square(shifted(np.array([6.0, 0.0])), **settings)
    assert not render(np.random.default_rng(2), scene, 0).mask.any()


def test_a_sample_depends_on_its_seed_and_number_only():
    first = draw_sample(seed=3, number=5)
    draw_sample(seed=3, number=4)
    for again, field in zip(draw_sample(seed=3, number=5), first, strict=True):
        np.testing.assert_array_equal(again, field)
    assert (draw_sample(seed=4, number=5).flows != first.flows).any()


def test_the_errors_of_a_sample_are_those_that_the_network_gets_later():
    rng = np.random.default_rng(1)
    flow, back = rng.normal(0, 5, (2, 120, 208, 2)).astype(np.float32)
    expected = round_trip_error(
        *(torch.from_numpy(f).permute(2, 0, 1)[None] for f in (flow, back))
    )[0]
    # OpenCV reads between pixels in steps of 1/32.
    assert np.abs(round_trip(flow, back) - expected.numpy()).mean() < 0.1


def test_a_shard_is_read_as_it_was_made(tmp_path: Path):
    make_shard(shard_path(tmp_path, 3, 0), 3, range(5, 7))
    (records,) = open_shards(tmp_path, 3, 1)
    for name, values in draw_sample(3, 6)._asdict().items():
        np.testing.assert_array_equal(records[name][1], values)
