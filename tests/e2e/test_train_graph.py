# SPDX-License-Identifier: Apache-2.0
"""Frames travel bridge -> perception -> trainer -> bridge, over DDS."""

from dataclasses import replace

import numpy as np
import pytest
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from samg_ros.errors import CheckpointError, ConfigError, InvalidInputError
from samg_ros.graphs.sim_train import make_plan, prepare_reference
from samg_ros.graphs.spec import CAMERA_REMAPPINGS
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.trainer_node import Trainer
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.presets import TRAINING_MASKS
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.messages.images import array_to_image, image_to_mask, image_to_rgb
from samg_ros.ros.messages.pairing import stamp_of
from samg_ros.sim.env import SimEnv
from samg_ros.sim.gym_env import SamgEnv

TASK = 'cartpole_swingup'
QUICK = {'fit_steps': 10, 'passes': 1}


def add_perception(graph, plan, weights, **parameters):
    return graph.add(Perception, {**plan.parameters('perception'), 'weights': str(weights),
                                  **QUICK, **parameters}, CAMERA_REMAPPINGS)


def add_all(graph, plan, weights):
    bridge = graph.add(MujocoBridge, plan.parameters('mujoco_bridge'))
    perception = add_perception(graph, plan, weights)
    return bridge, perception, graph.add(Trainer, plan.parameters('trainer'))


def test_two_hundred_steps_travel_the_graph_and_headers_stay(graph, plan, weights):
    deep = QoSProfile(depth=1000)
    images = graph.listen(Image, 'camera/image_raw', deep)
    infos = graph.listen(CameraInfo, 'camera/camera_info', deep)
    steps = graph.listen(Float64MultiArray, 'time_step', deep)
    outputs = {name: graph.listen(Image, f'masked/{name}', deep)
               for name in ('image_raw', 'mask', 'overlay')}
    masked_infos = graph.listen(CameraInfo, 'masked/camera_info', deep)
    bridge, perception, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.finished, 300)
    graph.spin_for(0.3)

    assert trainer.answers > 200  # last frames of episodes are answered too
    [camera] = perception.cameras
    for place in (bridge, camera, trainer):
        assert not place.drops.counts
    sources = {stamp_of(image): image for image in images}
    source_infos = {stamp_of(info): info for info in infos}
    assert len(sources) == trainer.answers == len({
        time_step.from_message(step).frame_index for step in steps})
    masker = Masker.load('mini', MaskerSettings(**QUICK, **TRAINING_MASKS), weights=weights)
    masker.fit(Reference.load(plan.reference))
    for name, messages in outputs.items():
        assert {stamp_of(message) for message in messages} == set(sources), name
        for message in messages:
            assert message.header == sources[stamp_of(message)].header
    for info in masked_infos:
        assert info == source_infos[stamp_of(info)]
    masks = {stamp_of(message): image_to_mask(message) for message in outputs['mask']}
    for message in outputs['image_raw'][::40]:
        frame = image_to_rgb(sources[stamp_of(message)])
        expected = masker(frame[None])[0]
        assert np.array_equal(masks[stamp_of(message)], expected)
        assert np.array_equal(image_to_rgb(message), apply_mask(frame, expected))


def test_the_learner_is_given_what_the_gymnasium_env_gives_bit_for_bit(graph, plan, weights):
    commands = graph.listen(Float64MultiArray, 'command', QoSProfile(depth=1000))
    _, _, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.learner is not None)
    learn, given = trainer.learner.step, []

    def spy(time_step):
        given.append(time_step)
        return learn(time_step)

    trainer.learner.step = spy
    graph.until(lambda: len(given) > 100, 300)
    graph.until(lambda: len(answers(commands)) >= 100)

    actions = answers(commands)
    config = plan.config
    masker = Masker.load('mini', MaskerSettings(**QUICK, **TRAINING_MASKS), weights=weights)
    masker.fit(Reference.load(plan.reference))
    env = SamgEnv(TASK, config.setting, height=config.camera_size, width=config.camera_size,
                  action_repeat=config.action_repeat, observation_spec=config.observation,
                  masker=masker)
    observation, info = env.reset(seed=config.seed)
    reward = 0.0
    for index, seen in enumerate(given[:101]):
        if index and info['step_type'] == time_step.LAST:
            (observation, info), reward = env.reset(), 0.0
        elif index:
            observation, reward, _, _, info = env.step(actions[index - 1])
        assert np.array_equal(seen.observation['pixels'], observation['pixels']), index
        assert (seen.reward, seen.discount, seen.step_type) == (
            reward, info['discount'], info['step_type'])
    assert {seen.step_type for seen in given[:101]} == {0, 1, 2}


def answers(commands):
    """Actions by the frame that they answer."""
    received = [command.from_message(message, 1) for message in commands]
    return {each.frame_index: each.action for each in received}


def test_the_checkpoint_carries_spec_reference_and_masker(graph, plan, weights):
    add_all(graph, plan, weights)
    trainer = graph.nodes[-1]
    graph.until(lambda: trainer.answers > 30, 120)
    answer = graph.call(Trigger, 'trainer/save', Trigger.Request())
    assert answer.success and str(plan.run_dir) in answer.message
    checkpoint = load_checkpoint(plan.run_dir)
    assert checkpoint.config == plan.config
    assert checkpoint.masker is not None and checkpoint.masker['settings']['fit_steps'] == 10
    reference = Reference.load(plan.reference)
    assert np.array_equal(checkpoint.reference.mask, reference.mask)
    assert graph.values('trainer: training')['steps'] == '200'


def test_a_killed_trainer_resumes_against_the_running_bridge(graph, plan, weights):
    _, _, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.answers > 30, 120)
    graph.remove(trainer)
    reached = load_checkpoint(plan.run_dir).counters['steps']
    again = graph.add(Trainer, plan.parameters('trainer'))
    graph.until(lambda: again.answers > 10, 120)
    assert again.progress['step'] > reached >= 25


def test_a_graph_that_starts_anew_goes_on_with_the_next_episode(graph, plan, weights):
    assert plan.parameters('mujoco_bridge')['skip_episodes'] == 0
    bridge, perception, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.answers > 60, 120)  # an episode has 50
    for node in (trainer, perception, bridge):
        graph.remove(node)
    assert plan.parameters('mujoco_bridge')['skip_episodes'] == 2
    again = graph.add(MujocoBridge, plan.parameters('mujoco_bridge'))
    env = SimEnv(TASK, seed=plan.config.seed, action_repeat=plan.config.action_repeat)
    third = [env.reset() for _ in range(3)][-1]
    assert np.array_equal(again._step.frame, third.frame)
    env.close()


def test_an_unknown_encoding_is_counted_by_name_and_the_node_lives(graph, plan, weights):
    perception = add_perception(graph, plan, weights)
    publisher = graph.probe.create_publisher(Image, 'camera/image_raw', 5)
    masked = graph.listen(Image, 'masked/image_raw')
    graph.until(lambda: perception.active and publisher.get_subscription_count() == 1
                and perception.count_subscribers('masked/image_raw') == 1)
    good = array_to_image(Reference.load(plan.reference).image, Image().header)
    bad = array_to_image(Reference.load(plan.reference).image, Image().header)
    bad.encoding = '32FC1'
    short = array_to_image(Reference.load(plan.reference).image, Image().header)
    short.data = short.data[:100]
    tiny = array_to_image(np.zeros((8, 8, 3), np.uint8), Image().header)
    for message in (bad, short, tiny):
        publisher.publish(message)
    graph.until(lambda: graph.values('perception: frames').get('dropped') == '3')
    values = graph.values('perception: frames')
    assert values['encoding'] == '1' and values['image'] == '2'
    publisher.publish(bad)
    graph.until(lambda: '32FC1' in graph.values('perception: frames')['last'])
    publisher.publish(good)
    graph.until(lambda: masked)


def test_an_empty_mask_is_a_diagnostic_and_the_graph_goes_on(graph, plan, weights):
    perception = add_perception(graph, plan, weights, min_predicted_iou=1.0)
    bridge = graph.add(MujocoBridge, plan.parameters('mujoco_bridge'))
    trainer = graph.add(Trainer, plan.parameters('trainer'))
    graph.until(lambda: trainer.answers > 10, 120)
    graph.until(lambda: 'mask is empty' in graph.said('perception: masking'))
    assert not bridge.drops.counts and perception.active


def test_an_incompatible_qos_is_reported_by_name(graph, plan, weights):
    perception = add_perception(graph, plan, weights)
    graph.until(lambda: perception.active)
    publisher = graph.probe.create_publisher(Image, 'camera/image_raw', qos_profile_sensor_data)
    graph.until(lambda: '/camera/image_raw' in graph.said('perception: connections'))
    assert 'RELIABILITY' in graph.said('perception: connections')
    assert publisher.topic_name == '/camera/image_raw'


@pytest.mark.parametrize('choices, said', [
    ({'task': 'cartpole_swing'}, 'cartpole_swingup'), ({'setting': 'video_hrad'}, 'video_hard'),
    ({'preset': 'fast'}, 'quick'), ({'overrides': '{"batch": 3}'}, 'batch'),
    ({'overrides': 'batch_size=3'}, 'JSON'), ({'videos': '/not/there'}, '/not/there')])
def test_a_wrong_choice_is_a_one_line_error_that_names_it(choices, said):
    with pytest.raises(Exception, match=said) as caught:
        make_plan(**{'task': TASK, **choices})
    assert '\n' not in str(caught.value)


def test_a_missing_reference_ends_perception_with_one_line(graph, plan, weights):
    with pytest.raises(Exception, match='/no/such/reference') as caught:
        add_perception(graph, plan, weights, reference='/no/such/reference')
        graph.until(lambda: False)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['action_repeat', 'seed'])
def test_a_trainer_refuses_a_simulator_that_runs_something_else(graph, plan, name):
    graph.add(MujocoBridge, {**plan.parameters('mujoco_bridge'), name: 3})
    graph.add(Trainer, plan.parameters('trainer'))
    with pytest.raises(Exception, match=name):
        graph.until(lambda: False)


def test_a_trainer_refuses_more_references_than_its_checkpoint_carries(graph, plan, weights):
    graph.add(MujocoBridge, plan.parameters('mujoco_bridge'))
    add_perception(graph, plan, weights, more_references=[str(plan.reference)])
    graph.add(Trainer, plan.parameters('trainer'))
    with pytest.raises(Exception, match='more_references') as caught:
        graph.until(lambda: False)
    assert '\n' not in str(caught.value)


def test_a_graph_that_goes_on_keeps_its_reference_and_its_episodes(plan):
    reference = Reference.load(plan.reference)
    agent = DrQv2Agent(plan.config, 1).state_dict()
    save_checkpoint(plan.run_dir / 'checkpoint.pt', Checkpoint(
        plan.config, np.array([-1.0]), np.array([1.0]), agent, reference,
        counters={'episodes': 4}))  # as older versions wrote it, without the episodes begun
    assert plan.parameters('mujoco_bridge')['skip_episodes'] == 4
    other = Reference(255 - reference.image, reference.mask).save(plan.run_dir.parent / 'other')
    with pytest.raises(CheckpointError, match='another reference'):
        prepare_reference(replace(plan, given_reference=other))
    assert np.array_equal(Reference.load(plan.reference).image, reference.image)
    assert "the run's own" in prepare_reference(replace(plan, given_reference=None))


def test_a_reward_that_is_not_a_number_is_named_and_not_learned_from(graph, plan, weights):
    bridge, _, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.answers > 25, 120)
    step = bridge._env.step
    bridge._env.step = lambda action: replace(step(action), reward=float('nan'))
    graph.until(lambda: trainer.drops.counts.get('time_step'))
    answers, count = trainer.answers, trainer.learner.replay.count
    graph.until(lambda: "'reward' of time_step is nan" in graph.values(
        'trainer: time steps').get('last', ''))
    assert (trainer.answers, trainer.learner.replay.count) == (answers, count)
    bridge._env.step = step
    assert graph.call(Trigger, 'mujoco_bridge/reset', Trigger.Request()).success
    graph.until(lambda: trainer.answers > answers + 5)
    assert np.isfinite(trainer.learner.replay._steps['reward']).all()


@pytest.mark.parametrize('choices, method', [
    ({}, 'clone'), ({'task': 'reacher_easy'}, 'rl'), ({'task': 'cartpole_swingup'}, 'rl'),
    ({'preset': 'paper'}, 'rl'), ({'overrides': '{"agent": "svea"}'}, 'rl'),
    ({'demonstrations': '/somewhere'}, 'rl'), ({'method': 'rl'}, 'rl'),
    ({'task': 'reacher_easy', 'expert': 'expert.npz'}, 'clone')])
def test_a_clone_is_trained_where_there_is_an_expert_and_nothing_else_asks_for_reward(
        choices, method):
    plan = make_plan(**{'task': 'finger_spin', **choices})
    assert plan.method == method and plan.parameters('trainer')['method'] == method
    assert bool(plan.parameters('mujoco_bridge')['expert']) == (method == 'clone')


@pytest.mark.parametrize('choices, said', [
    ({'method': 'clone', 'demonstrations': '/somewhere'}, 'not from demonstrations'),
    ({'method': 'rl', 'expert': 'expert.npz'}, 'no use for an expert'),
    ({'method': 'clone', 'preset': 'paper'}, 'not for clones'),
    ({'method': 'clone', 'overrides': '{"agent": "svea"}'}, 'leave the agent out')])
def test_choices_that_do_not_fit_a_clone_are_named(choices, said):
    with pytest.raises(ConfigError, match=said):
        make_plan(TASK, **choices)


def test_a_clone_refuses_a_simulator_without_an_expert(graph, plan):
    plan = make_plan(TASK, method='clone', reference=plan.reference, run_dir=plan.run_dir)
    prepare_reference(plan)
    graph.add(MujocoBridge, {**plan.parameters('mujoco_bridge'), 'expert': ''})
    graph.add(Trainer, plan.parameters('trainer'))
    with pytest.raises(ConfigError, match="set its parameter 'expert'"):
        graph.until(lambda: False)


def test_overrides_reach_the_configuration():
    plan = make_plan(TASK, method='rl', steps=123,
                     overrides='{"batch_size": 7, "observation": {"size": 33}}')
    assert (plan.config.batch_size, plan.config.observation.size, plan.config.steps) == (7, 33, 123)


@pytest.mark.parametrize('temporal, given, memory', [
    ('', '', False), ('prior', '', True), ('', 'prior', True), ('off', 'prior', False)])
def test_masks_have_a_memory_if_the_command_or_the_parameter_file_asks(
        tmp_path, temporal, given, memory):
    path = tmp_path / 'mine.yaml'
    path.write_text(f'perception: {{ros__parameters: {{temporal: {given or "off"}}}}}')
    parameters = make_plan(TASK, temporal=temporal, params_file=str(path)).parameters('perception')
    assert parameters['second_look'] == memory
    assert parameters.get('temporal', temporal) == temporal


@pytest.mark.parametrize('device', ['', 'cuda:1'])
def test_the_device_is_that_of_masker_and_learner(device):
    plan = make_plan(TASK, device=device)
    for node in ('perception', 'trainer'):
        assert plan.parameters(node).get('device', '') == device  # without: the parameter file's
    assert 'device' not in plan.parameters('mujoco_bridge')


@pytest.mark.parametrize('error', [ValueError('expected shape (3, 84)'),
                                   InvalidInputError('expected 3 values')])
def test_an_error_of_the_learner_ends_the_training_instead_of_being_repeated_for_ever(
        graph, plan, weights, error, monkeypatch):
    _, _, trainer = add_all(graph, plan, weights)
    graph.until(lambda: trainer.answers > 3)

    def fail(step):
        raise error

    monkeypatch.setattr(trainer.learner, 'step', fail)
    with pytest.raises(type(error), match='expected'):
        graph.until(lambda: False)
    monkeypatch.undo()
    assert not trainer.drops.counts


@pytest.mark.parametrize('low, high', [([1.0], [-1.0]), ([-1.0], [1.0, 1.0]), ([], []),
                                       ([float('nan')], [1.0])])
def test_what_the_simulator_answers_is_checked(graph, plan, weights, low, high):
    trainer = graph.add(Trainer, plan.parameters('trainer'))
    config = trainer.config
    trainer._on_simulator({
        'task': config.task, 'setting': config.setting, 'seed': config.seed,
        'height': config.camera_size, 'width': config.camera_size,
        'action_repeat': config.action_repeat, 'quality': config.quality,
        'composite': config.composite, 'mode': 'lockstep', 'action_low': low, 'action_high': high,
        'expert_source': ''})
    with pytest.raises(ConfigError, match='action_low and action_high must be finite'):
        graph.until(lambda: False)
