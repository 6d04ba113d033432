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
from busy_machine import limit_s
from distribution import needs_numbers
from geometry_msgs.msg import Point, PointStamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from samg_ros import cli
from samg_ros.errors import SamgError
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.engines import compiled
from samg_ros.masking.engines.library import is_installed
from samg_ros.nodes.perception_node import Perception
from samg_ros.perception import camera as module
from samg_ros.ros.messages.images import array_to_compressed, array_to_image, image_to_rgb
from samg_ros.ros.messages.message_info import Arrivals, waited_s

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
        [self.stream] = self.node.cameras
        graph.until(lambda: self.topic.get_subscription_count() == 1
                    and self.node.count_subscribers('masked/image_raw') == 1)
        self.sent = 0

    @property
    def masker(self):
        return self.stream.clicks.masker

    def header(self):
        self.sent += 1
        return Header(stamp=Time(sec=self.sent), frame_id='camera_optical')

    def send(self, message):
        """Publish, and return what comes back, or None if nothing does."""
        before, masked = self.stream.received, self.stream.latency.count
        self.topic.publish(message)
        self.graph.until(lambda: self.stream.received > before)
        if self.stream.latency.count == masked:
            return None
        self.graph.until(lambda: self.images and self.images[-1].header == message.header)
        return self.images[-1]

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


def test_with_a_prior_the_whole_frame_is_looked_at_only_after_a_gap(graph, reference, monkeypatch):
    camera = Camera(graph, reference, temporal='prior')
    whole, predict = [], camera.masker.predict

    def count(frames):
        whole.append(len(frames))
        return predict(frames)

    monkeypatch.setattr(camera.masker, 'predict', count)
    masks = []
    for tenths in (10, 11, 12, 30, 31):
        header = Header(stamp=Time(sec=tenths // 10, nanosec=tenths % 10 * 10**8), frame_id='c')
        masks.append(image_to_rgb(camera.send(array_to_image(picture(), header))).any(axis=2))
    assert whole == [1, 1]
    assert all((mask & masks[0]).sum() > 0.8 * (mask | masks[0]).sum() for mask in masks)


def test_compressed_images_are_masked_like_others(graph, reference):
    camera = Camera(graph, reference, CompressedImage, 'image/compressed',
                    image_transport='compressed')
    masked = camera.send(array_to_compressed(picture(), camera.header(), 95))
    seen = image_to_rgb(masked)[CENTRE[1], CENTRE[0]].astype(int)
    assert np.abs(seen - (230, 120, 20)).max() < 12
    broken = CompressedImage(header=camera.header(), format='jpeg', data=array.array('B', b'no'))
    assert camera.send(broken) is None
    assert camera.stream.drops.counts == {'encoding': 1}


@needs_numbers
def test_under_overload_the_newest_frames_are_masked_and_all_others_counted(graph, reference):
    camera = Camera(graph, reference)
    stream, took, made = camera.stream, [], camera.masker.predict
    assert camera.frame() is not None

    def predict(frames):
        began = time.monotonic()
        try:
            return made(frames)
        finally:
            time.sleep(0.03)  # a larger model, so that the pace of this test's camera is far off
            took.append(time.monotonic() - began)

    camera.masker.predict = predict
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
    assert stream.received == 401 and stream.latency.count == out
    assert stream.drops.counts == {'overtaken': 401 - out}
    assert stream.latency.duration_ms(50) / 1e3 < 2 * np.median(took)
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
    graph.until(lambda: camera.node.count_subscribers('masked/overlay')
                and camera.node.count_subscribers('masked/score'))
    masked = camera.frame()
    graph.until(lambda: overlays and scores)
    assert drawn == [1]
    assert scores[0].encoding == 'mono8' and scores[0].header == masked.header
    score = np.frombuffer(scores[0].data, np.uint8).reshape(60, 80)
    assert score[CENTRE[1], CENTRE[0]] > np.median(score)


def test_a_click_is_a_prompt_at_once_and_until_cleared(graph, reference):
    camera = Camera(graph, reference, max_points=2)
    stream, masker = camera.stream, camera.masker
    camera.click(*CENTRE)
    assert stream.clicks_dropped.counts == {'no_frame': 1}
    camera.frame()
    frame = picture()[None]
    assert masker.predict(frame).prompts[0].points.shape[1] == 2
    camera.click(*CENTRE)
    mouse = graph.probe.create_publisher(Point, 'image_mouse_left', 10)
    graph.until(lambda: mouse.get_subscription_count() == 1)
    mouse.publish(Point(x=45.0, y=30.0))
    graph.until(lambda: len(stream.clicks) == 2)
    assert masker.predict(frame).prompts[0].points.shape[1] == 4
    for x, y in ((80, 3), (float('nan'), 3), CENTRE):  # outside, nowhere, one too many
        camera.click(x, y)
    assert stream.clicks_dropped.counts == {'no_frame': 1, 'point': 3}
    assert camera.call('clear_points').message == 'cleared 2 clicked points'
    assert masker.predict(frame).prompts[0].points.shape[1] == 2


def test_a_reference_is_captured_from_clicks_on_the_live_image(graph, reference, tmp_path):
    folder = tmp_path / 'captured'
    camera = Camera(graph, '', wait_for_capture=True, capture_folder=str(folder))
    assert camera.frame() is None
    assert camera.stream.drops.counts == {'no_reference': 1}
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
    assert len(camera.masker.reference.points) == 2  # its own stay


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


def test_the_description_of_the_masker_cannot_be_set(graph, reference):
    camera = Camera(graph, reference)
    before = camera.node.get_parameter('masker_description').value
    answer = camera.set(masker_description='{}')
    assert not answer.successful and 'cannot be set' in answer.reason
    assert camera.node.get_parameter('masker_description').value == before


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
    graph.until(lambda: float(graph.values('perception: masking').get('latency_p95_ms', 0)) > 0)
    graph.until(lambda: 'no frame was masked for' in graph.said('perception: masking'))
    assert 0.1 < float(graph.values('perception: masking')['age_s']) < 60


def test_nonsense_images_are_counted_and_the_node_lives(graph, reference):
    camera = Camera(graph, reference)
    stream, rng = camera.stream, np.random.default_rng(0)
    words = ['rgb8', 'bgr8', 'mono8', 'mono16', 'bayer_gbrg8', 'yuv422', 'yuv422_yuy2', '', '8UC9']
    for _ in range(150):
        size = [int(value) for value in rng.choice([0, 1, 15, 16, 17, 40, 2**32 - 1], 3)]
        message = Image(
            header=Header(stamp=Time(sec=int(rng.integers(-2**31, 2**31)),
                                     nanosec=int(rng.integers(0, 2**32)))),
            height=size[0], width=size[1], step=size[2] * int(rng.integers(1, 4)) % 2**32,
            encoding=str(rng.choice(words)), is_bigendian=int(rng.integers(0, 256)),
            data=array.array('B', rng.bytes(int(rng.choice([0, 7, 512, 4800])))))
        before = stream.received
        camera.topic.publish(message)
        graph.until(lambda before=before: stream.received > before)
    assert stream.received == stream.latency.count + stream.drops.total == 150
    assert stream.drops.total > 50
    assert camera.frame() is not None


class Pair:
    """Two cameras of one perception node."""

    def __init__(self, graph, **parameters):
        self.graph, self.sent = graph, 0
        self.names = ('left', 'right')
        self.topics = {name: graph.probe.create_publisher(Image, f'{name}/image', DEEP)
                       for name in self.names}
        self.images = {name: graph.listen(Image, f'{name}/masked/image_raw', DEEP)
                       for name in self.names}
        self.node = graph.add(Perception, {'cameras': list(self.names), 'fit_weights': False,
                                           **parameters})
        self.streams = dict(zip(self.names, self.node.cameras, strict=True))
        graph.until(lambda: all(topic.get_subscription_count() for topic in self.topics.values())
                    and all(self.node.count_subscribers(f'{name}/masked/image_raw')
                            for name in self.names))
        self.calls = []
        for clicks in {stream.clicks for stream in self.streams.values()}:
            self.watch(clicks.masker)

    def watch(self, masker):
        predict = masker.predict
        masker.predict = lambda frames: self.calls.append(frames.shape) or predict(frames)

    def send(self, **frames):
        """Publish frames of cameras before the node gets its turn; return what comes back."""
        self.sent += 1
        header = Header(stamp=Time(sec=self.sent), frame_id='optical')
        for name, frame in frames.items():
            self.topics[name].publish(array_to_image(frame, header))
        time.sleep(0.05)  # they are all in the middleware now
        self.graph.until(lambda: all(
            self.images[name] and self.images[name][-1].header == header for name in frames))
        return {name: image_to_rgb(self.images[name][-1]) for name in frames}


def test_frames_of_several_cameras_are_masked_in_one_call_as_each_would_be_alone(graph, reference):
    pair = Pair(graph, reference=str(reference))
    left, right = picture(), picture()[:, ::-1].copy()
    together = pair.send(left=left, right=right)
    assert pair.calls == [(2, 60, 80, 3)]
    for name, frame in (('left', left), ('right', right)):
        alone = pair.send(**{name: frame})[name]  # the other one is silent
        assert np.array_equal(alone, together[name]) and alone.any()
    assert pair.calls[1:] == [(1, 60, 80, 3)] * 2
    graph.until(lambda: graph.values('perception: right frames').get('out') == '2')
    assert graph.values('perception: left masking')['batch'] == '1'
    assert pair.node.count_publishers('masked/image_raw') == 0


def test_cameras_of_different_sizes_and_references_do_not_go_together(graph, reference, tmp_path):
    frame = picture()
    corner = np.zeros(frame.shape[:2], bool)
    corner[:20, :20] = True
    other = Reference(frame, corner).save(tmp_path / 'other')
    pair = Pair(graph, **{'reference': str(reference), 'right.reference': str(other),
                          'capture_folder': str(tmp_path)})
    masked = pair.send(left=frame, right=frame)
    assert pair.calls == [(1, 60, 80, 3)] * 2
    assert not np.array_equal(masked['left'], masked['right'])
    graph.remove(pair.node)
    pair = Pair(graph, reference=str(reference))
    pair.send(left=frame, right=picture(64, 64))
    assert sorted(pair.calls) == [(1, 60, 80, 3), (1, 64, 64, 3)]


@needs_numbers
def test_each_camera_counts_what_it_drops(graph, reference):
    pair = Pair(graph, reference=str(reference))
    good = array_to_image(picture(), Header(stamp=Time(sec=99)))
    bad = array_to_image(picture(), Header(stamp=Time(sec=98)))
    bad.encoding = '32FC1'
    pair.send(left=picture(), right=picture())  # a publisher's first number is known from now on
    for _ in range(7):
        pair.topics['left'].publish(good)
    pair.topics['right'].publish(bad)
    left, right = pair.streams['left'], pair.streams['right']
    graph.until(lambda: left.received == 8 and right.received == 2)
    assert right.drops.counts == {'encoding': 1}
    assert left.latency.count + left.drops.counts['overtaken'] == 8
    graph.until(lambda: graph.values('perception: right frames').get('encoding') == '1')


def test_a_click_on_one_camera_is_looked_for_in_all_and_captured_from_that_one(graph, reference):
    pair = Pair(graph, reference=str(reference))
    frame = picture()
    pair.send(left=frame, right=frame)
    clicks = pair.streams['left'].clicks
    assert clicks is pair.streams['right'].clicks
    for name, x in (('left', CENTRE[0] - 6), ('right', CENTRE[0])):
        mouse = graph.probe.create_publisher(Point, f'{name}/image_mouse_left', 10)
        graph.until(mouse.get_subscription_count)
        count = len(clicks)
        mouse.publish(Point(x=float(x), y=float(CENTRE[1])))
        graph.until(lambda count=count: len(clicks) > count)
    answer = graph.call(Trigger, 'perception/capture_reference', Trigger.Request())
    assert answer.success, answer.message
    assert np.array_equal(clicks.masker.reference.points, [CENTRE])


@pytest.mark.parametrize('names', [['a', 'a'], ['front/left'], ['1st']])
def test_camera_names_that_cannot_be_are_refused(graph, reference, names):
    with pytest.raises(SamgError, match='cameras'):
        graph.add(Perception, {'reference': str(reference), 'cameras': names})


def test_diagnostics_and_services_are_in_time_however_slow_the_masker(graph, reference):
    camera = Camera(graph, reference)
    predict = camera.masker.predict
    camera.masker.predict = lambda frames: time.sleep(0.1) or predict(frames)
    message = array_to_image(picture(), camera.header())
    ended = threading.Event()

    def flood():
        while not ended.is_set():
            camera.topic.publish(message)
            time.sleep(0.005)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        graph.spin_for(2.0)
        began = time.monotonic()
        camera.call('clear_points')
        assert time.monotonic() - began < limit_s(1.0)
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(not is_installed('openvino'), reason='no OpenVINO')
def test_with_a_warm_cache_the_first_frame_comes_within_two_seconds(
        graph, reference, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    masker = Masker.load('mini', MaskerSettings(engine='openvino', fit_weights=False))
    masker.fit(Reference.load(reference))(picture()[None])
    assert list(tmp_path.rglob('*.compiled'))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    camera = Camera(graph, reference, engine='openvino', wait_for_engine=True)
    began = time.monotonic()
    assert camera.frame() is not None
    assert time.monotonic() - began < limit_s(2.0)
    assert camera.masker.engine == 'openvino'


@pytest.mark.skipif(not is_installed('openvino'), reason='no OpenVINO')
def test_frames_of_a_new_size_are_masked_while_their_network_is_compiled(
        graph, reference, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(compiled, '_SHARED', type(compiled._SHARED)())
    may_compile, compile_elsewhere = threading.Event(), compiled.compile_elsewhere

    def late(*arguments):
        may_compile.wait()
        return compile_elsewhere(*arguments)

    monkeypatch.setattr(compiled, 'compile_elsewhere', late)
    camera = Camera(graph, reference, engine='openvino', wait_for_engine=False, second_look=False)
    try:
        for scale in (1, 2):
            assert camera.frame(np.kron(picture(), np.ones((scale, scale, 1), np.uint8)))
        graph.until(lambda: 'torch until' in graph.values('perception: masking').get('engine', ''))
    finally:
        may_compile.set()
    graph.until(lambda: graph.values('perception: masking')['engine'] == 'openvino', 600.0)
    assert camera.frame() is not None


@needs_numbers
def test_the_bench_measures_the_real_node(tmp_path, capfd):
    path = tmp_path / 'graph.json'
    assert cli.main(['bench', 'graph', '--frames', '5', '--size', '60', '80', '--overload', '0.5',
                     '--peak', '0.5', '--json', str(path)]) == 0
    figures = json.loads(path.read_text())
    node, load = figures['node'], figures['overload']
    assert node['stamps_changed'] == 0.0 and node['frames'] == 5
    assert node['start_s'] > 0 and node['first_frame_s'] > 0
    assert 0 < node['masker_median_ms'] < 2 * node['latency_median_ms']
    assert load['sent'] > load['masked'] > 0 and load['dropped'] > 0 and load['unaccounted'] == 0
    peak = figures['peak']
    assert peak['at'] in peak['tried'] and peak['at']['dropped'] < 0.05
    assert any(one['dropped'] > peak['at']['dropped'] or one['sent_hz'] < 0.95 * one['rate_hz']
               for one in peak['tried'])
    assert peak['at']['latency_median_ms'] > 0 and len(peak['input_sha256']) == 64
    printed = capfd.readouterr().out
    assert 'node cost' in printed and 'highest input rate' in printed


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
