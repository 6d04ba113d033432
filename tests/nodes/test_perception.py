# SPDX-License-Identifier: Apache-2.0
"""`perception` in a real graph: what it takes, what it drops, clicks and captures."""

import array
import json
import threading
import time

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from samg_ros import cli
from samg_ros.errors import SamgError
from samg_ros.masking import Reference
from samg_ros.nodes import perception as module
from samg_ros.nodes.arrivals import Arrivals, waited_s
from samg_ros.nodes.conversions import array_to_compressed, array_to_image, image_to_rgb
from samg_ros.nodes.perception import Perception

CENTRE, RADIUS = (40, 30), 14
DEEP = QoSProfile(depth=1000)


def picture(height=60, width=80):
    """A disc in front of noise."""
    frame = np.random.default_rng(0).integers(0, 90, (height, width, 3), dtype=np.uint8)
    cv2.circle(frame, CENTRE, RADIUS, (230, 120, 20), -1)
    return frame


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    frame = picture()
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.circle(mask, CENTRE, RADIUS, 1, -1)
    return Reference(frame, mask > 0).save(tmp_path_factory.mktemp('reference'))


class Camera:
    """A perception node, its camera, and what it makes of the frames."""

    def __init__(self, graph, reference, message_type=Image, topic='image', **parameters):
        self.graph = graph
        self.topic = graph.probe.create_publisher(message_type, topic, DEEP)
        self.images = graph.listen(Image, 'masked/image_raw', DEEP)
        self.node = graph.add(Perception, {'reference': str(reference), 'fit_weights': False,
                                           **parameters})
        graph.until(lambda: self.topic.get_subscription_count() == 1
                    and self.node._image_topic.get_subscription_count() == 1)
        self.sent = 0

    def header(self):
        self.sent += 1
        return Header(stamp=Time(sec=self.sent), frame_id='camera_optical')

    def send(self, message):
        """Publish, and return what comes back, or None if nothing does."""
        before = self.node._in
        self.topic.publish(message)
        self.graph.until(lambda: self.node._in > before)
        self.graph.spin_for(0.05)
        found = [image for image in self.images if image.header == message.header]
        return found[0] if found else None

    def frame(self, frame=None, encoding=None):
        return self.send(array_to_image(picture() if frame is None else frame, self.header(),
                                        encoding))

    def click(self, x, y):
        """Click as RViz does."""
        if not hasattr(self, 'clicks'):
            self.clicks = self.graph.probe.create_publisher(PointStamped, 'clicked_point', 10)
            self.graph.until(lambda: self.clicks.get_subscription_count() == 1)
        self.clicks.publish(PointStamped(point=Point(x=float(x), y=float(y))))
        self.graph.spin_for(0.05)

    def call(self, service):
        return self.graph.call(Trigger, f'perception/{service}', Trigger.Request())

    def set(self, **values):
        request = SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        return self.graph.call(SetParameters, 'perception/set_parameters', request).results[0]


def test_encoding_and_size_may_change_in_mid_stream(graph, reference):
    camera = Camera(graph, reference)
    for frame, encoding in ((picture(), 'rgb8'), (picture()[..., ::-1].copy(), 'bgr8'),
                            (picture(96, 64), 'rgb8'), (picture()[..., 0].copy(), 'mono8')):
        masked = camera.frame(frame, encoding)
        assert masked is not None and masked.encoding == 'rgb8'
        assert (masked.height, masked.width) == frame.shape[:2]
    mosaic = array_to_image(picture()[..., 0].copy(), camera.header())
    mosaic.encoding = 'bayer_rggb8'
    assert camera.send(mosaic) is not None
    depth = array_to_image(picture()[..., 0].copy(), camera.header())
    depth.encoding = '32FC1'
    assert camera.send(depth) is None
    graph.until(lambda: graph.values('perception: frames').get('encoding') == '1')
    assert camera.frame() is not None


def test_compressed_images_are_masked_like_others(graph, reference):
    camera = Camera(graph, reference, CompressedImage, 'image/compressed',
                    image_transport='compressed')
    masked = camera.send(array_to_compressed(picture(), camera.header(), 95))
    seen = image_to_rgb(masked)[CENTRE[1], CENTRE[0]].astype(int)
    assert np.abs(seen - (230, 120, 20)).max() < 12
    broken = CompressedImage(header=camera.header(), format='jpeg', data=array.array('B', b'no'))
    assert camera.send(broken) is None
    assert camera.node.drops.counts == {'encoding': 1}


def test_under_overload_the_newest_frames_are_masked_and_all_others_counted(graph, reference):
    camera = Camera(graph, reference)
    node, took, made = camera.node, [], camera.node._masker.predict
    assert camera.frame() is not None

    def predict(frames):
        began = time.monotonic()
        try:
            return made(frames)
        finally:
            time.sleep(0.03)  # a larger model, so that the pace of this test's camera is far off
            took.append(time.monotonic() - began)

    node._masker.predict = predict
    messages = [array_to_image(picture(), camera.header()) for _ in range(400)]

    def overload():
        for message in messages:
            camera.topic.publish(message)
            time.sleep(0.003)

    thread = threading.Thread(target=overload)
    thread.start()
    graph.until(lambda: not thread.is_alive())
    graph.until(lambda: camera.images and camera.images[-1].header == messages[-1].header)
    out = len(camera.images)
    assert out < 100
    assert node._in == 401 and node.latency.count == out
    assert node.drops.counts == {'overtaken': 401 - out}
    assert node.latency.duration_ms(50) / 1e3 < 2 * np.median(took)
    graph.until(lambda: graph.values('perception: frames').get('out') == str(out))
    values = graph.values('perception: frames')
    assert int(values['in']) == int(values['out']) + int(values['dropped'])


def test_what_nobody_hears_is_not_computed(graph, reference, monkeypatch):
    drawn, draw = [], module.overlay
    monkeypatch.setattr(module, 'overlay',
                        lambda *given: drawn.append(1) or draw(*given))
    camera = Camera(graph, reference)
    camera.frame()
    assert not drawn
    overlays = graph.listen(Image, 'masked/overlay')
    scores = graph.listen(Image, 'masked/score')
    graph.until(lambda: camera.node._overlay_topic.get_subscription_count()
                and camera.node._score_topic.get_subscription_count())
    masked = camera.frame()
    graph.until(lambda: overlays and scores)
    assert drawn == [1]
    assert scores[0].encoding == 'mono8' and scores[0].header == masked.header
    score = np.frombuffer(scores[0].data, np.uint8).reshape(60, 80)
    assert score[CENTRE[1], CENTRE[0]] > np.median(score)


def test_a_click_is_a_prompt_at_once_and_until_cleared(graph, reference):
    camera = Camera(graph, reference, max_points=2)
    node = camera.node
    camera.click(*CENTRE)
    assert node.clicks_dropped.counts == {'no_frame': 1}
    camera.frame()
    frame = picture()[None]
    assert node._masker.predict(frame).prompts[0].points.shape[1] == 2
    camera.click(*CENTRE)
    mouse = graph.probe.create_publisher(Point, 'image_mouse_left', 10)
    graph.until(lambda: mouse.get_subscription_count() == 1)
    mouse.publish(Point(x=45.0, y=30.0))
    graph.until(lambda: len(node._clicks) == 2)
    assert node._masker.predict(frame).prompts[0].points.shape[1] == 4
    for x, y in ((80, 3), (float('nan'), 3), CENTRE):  # outside, nowhere, one too many
        camera.click(x, y)
    assert node.clicks_dropped.counts == {'no_frame': 1, 'point': 3}
    assert camera.call('clear_points').message == 'cleared 2 clicked points'
    assert node._masker.predict(frame).prompts[0].points.shape[1] == 2


def test_a_reference_is_captured_from_clicks_on_the_live_image(graph, reference, tmp_path):
    folder = tmp_path / 'captured'
    camera = Camera(graph, '', wait_for_capture=True, capture_folder=str(folder))
    assert camera.frame() is None
    assert camera.node.drops.counts == {'no_reference': 1}
    graph.until(lambda: 'capture_reference' in graph.said('perception: masking'))
    answer = camera.call('capture_reference')
    assert not answer.success and 'nothing was clicked' in answer.message
    camera.click(*CENTRE)
    camera.click(CENTRE[0] - 6, CENTRE[1])
    answer = camera.call('capture_reference')
    assert answer.success, answer.message
    captured, truth = Reference.load(folder), Reference.load(reference).mask
    assert (captured.mask & truth).sum() / (captured.mask | truth).sum() > 0.8
    assert np.array_equal(captured.points, [CENTRE, (CENTRE[0] - 6, CENTRE[1])])
    assert image_to_rgb(camera.frame())[CENTRE[1], CENTRE[0]].any()
    assert camera.call('clear_points').success
    assert len(camera.node._masker.reference.points) == 2  # its own stay


def test_some_parameters_change_while_it_runs_and_nonsense_is_refused(graph, reference):
    camera = Camera(graph, reference)
    assert camera.set(fill=[9, 8, 7]).successful
    assert list(image_to_rgb(camera.frame())[0, 0]) == [9, 8, 7]
    for wrong in ({'fill': [1, 2]}, {'fill': [0, 0, 256]}, {'passes': 4}, {'passes': 'two'},
                  {'combine_references': 'least'}, {'min_predicted_iou': 1.5},
                  {'model': 'other'}):
        assert not camera.set(**wrong).successful, wrong
    assert camera.set(min_predicted_iou=1.0, passes=3).successful
    assert (image_to_rgb(camera.frame()) == (9, 8, 7)).all()
    description = camera.node.get_parameter('masker_description').value
    assert '"passes": 3' in description and '"min_predicted_iou": 1.0' in description


@pytest.mark.parametrize('wrong, said', [
    ({'fill': [0, 0]}, 'fill'), ({'dtype': 'int8'}, 'dtype'), ({'grid_size': 3}, 'grid_size'),
    ({'features': ['sound']}, 'features'), ({'similarity_prompt': 'often'}, 'similarity_prompt'),
    ({'image_transport': 'theora'}, 'image_transport'), ({'reference': ''}, 'reference')])
def test_a_wrong_parameter_is_an_error_that_names_it(graph, reference, wrong, said):
    with pytest.raises(SamgError, match=said):
        graph.add(Perception, {'reference': str(reference), 'fit_weights': False, **wrong})


def test_silence_is_reported(graph, reference):
    camera = Camera(graph, reference, stale_after_s=0.1)
    camera.frame()
    graph.until(lambda: 'no frame was masked for' in graph.said('perception: masking'))
    values = graph.values('perception: masking')
    assert float(values['age_s']) > 0.1 and float(values['latency_p95_ms']) > 0


def test_nonsense_images_are_counted_and_the_node_lives(graph, reference):
    camera = Camera(graph, reference)
    node, rng = camera.node, np.random.default_rng(0)
    words = ['rgb8', 'bgr8', 'mono8', 'mono16', 'bayer_gbrg8', 'yuv422', 'yuv422_yuy2', '', '8UC9']
    for _ in range(150):
        size = [int(value) for value in rng.choice([0, 1, 15, 16, 17, 40, 2**32 - 1], 3)]
        message = Image(
            header=Header(stamp=Time(sec=int(rng.integers(-2**31, 2**31)),
                                     nanosec=int(rng.integers(0, 2**32)))),
            height=size[0], width=size[1], step=size[2] * int(rng.integers(1, 4)) % 2**32,
            encoding=str(rng.choice(words)), is_bigendian=int(rng.integers(0, 256)),
            data=array.array('B', rng.bytes(int(rng.choice([0, 7, 512, 4800])))))
        before = node._in
        camera.topic.publish(message)
        graph.until(lambda before=before: node._in > before)
    assert node._in == node.latency.count + node.drops.total == 150
    assert node.drops.total > 50
    assert camera.frame() is not None


def test_the_bench_measures_the_real_node(tmp_path, capfd):
    path = tmp_path / 'graph.json'
    assert cli.main(['bench', 'graph', '--frames', '5', '--size', '60', '80', '--overload', '0.5',
                     '--json', str(path)]) == 0
    figures = json.loads(path.read_text())
    node, load = figures['node'], figures['overload']
    assert node['stamps_changed'] == 0.0 and node['frames'] == 5
    assert 0 < node['masker_median_ms'] < 2 * node['latency_median_ms']
    assert load['sent'] > load['masked'] > 0 and load['dropped'] > 0 and load['unaccounted'] == 0
    assert 'node cost' in capfd.readouterr().out


def test_gaps_in_a_publishers_numbers_are_counted():
    arrivals = Arrivals()

    def came(number, publisher=b'a'):
        return arrivals.missed({'publication_sequence_number': number,
                                'publisher_gid': {'data': publisher}})

    assert [came(7), came(8), came(12)] == [0, 0, 3]
    assert [came(3, b'b'), came(5, b'b'), came(13)] == [0, 1, 0]
    assert came(1) == 0  # it began anew
    assert arrivals.numbered
    assert arrivals.missed({}) == 0 and waited_s({}) == 0.0
    assert not arrivals.numbered
    assert 0.9 < waited_s({'received_timestamp': time.time_ns() - 10**9}) < 2
