# SPDX-License-Identifier: Apache-2.0
"""`samg run arm` as a user starts it, with the simulated arm; and what its plan refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from busy_machine import limit_s
from processes import Command

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.bags.bag import open_bag
from samg_ros.bags.evaluate import evaluate_bag
from samg_ros.bags.limits import count_excesses, read_commands
from samg_ros.bags.replay.sent import compare_commands
from samg_ros.bags.topics import find_topics
from samg_ros.errors import SamgError
from samg_ros.files.share import share_file
from samg_ros.graphs.arm import make_plan
from samg_ros.graphs.spec import CAMERA_REMAPPINGS
from samg_ros.nodes.arm_episodes_node import ArmEpisodes
from samg_ros.perception.references import load_reference
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import load_checkpoint, save_checkpoint

TOPIC = '/forward_position_controller/commands'
FAST = """
/**/mujoco_bridge: {ros__parameters: {mode: realtime, control: position, rate_hz: 20.0}}
/**/policy: {ros__parameters: {command_interface: position, timeout_s: 10.0}}
"""
"""The simulated arm faster than life, and a watchdog with patience for a crowded machine."""
MAX_LEAD = 0.3
"""How far the command that ends an episode may go back to where the joints are, rad."""
PAUSE_S = 0.3
"""Between two episodes, in which the simulation puts the arm elsewhere."""


def arguments(arm_run, *more):
    return 'run', 'arm', '--sim', '--policy', str(arm_run), *more


def test_episodes_are_run_recorded_and_counted(tmp_path, arm_run):
    parameters, results = tmp_path / 'fast.yaml', tmp_path / 'results.json'
    parameters.write_text(FAST)
    command = Command(tmp_path, *arguments(
        arm_run, '--episodes', '2', '--json', str(results), '--params-file', str(parameters),
        '--record', 'arm.mcap'))
    assert command.process.wait(300) == 0, command.text()
    assert 'perception, policy: active' in command.text()
    assert 'solved 0 of 2 episodes' in command.text() and 'Traceback' not in command.text()
    figures = json.loads(results.read_text())
    assert len(figures['returns']) == 2 and figures['success_rate'] == 0.0
    times, sent = read_commands(open_bag(tmp_path / 'arm.mcap'), TOPIC, 9)
    assert len(sent) > 10
    repeated = compare_commands(open_bag(tmp_path / 'arm.mcap'), load_policy(arm_run), TOPIC)
    assert repeated.equal == repeated.commands == len(sent) and not repeated.lost
    limits = load_joint_limits(share_file('config/jaco_limits.yaml'))
    assert not count_excesses(times, sent, limits, 'position', PAUSE_S, MAX_LEAD)


def test_ctrl_c_ends_it_well(tmp_path, arm_run):
    command = Command(tmp_path, *arguments(arm_run))
    command.wait_for('perception, policy: active', 200)
    limit = limit_s(5.0)
    assert command.interrupt() < limit
    assert command.process.returncode == 0 and 'Traceback' not in command.text()


def parameters_of(plan, name):
    return next(spec for spec in plan.nodes if spec.name == name).parameters


def test_what_the_policy_knows_reaches_all_nodes(arm_run):
    plan = make_plan(policy=str(arm_run), use_sim=True, setting='video_hard')
    assert [spec.name for spec in plan.nodes] == ['mujoco_bridge', 'perception', 'policy',
                                                  'lifecycle_manager']
    assert parameters_of(plan, 'mujoco_bridge').items() >= {
        'task': 'arm_reach', 'setting': 'video_hard', 'height': 84, 'action_repeat': 5}.items()
    assert parameters_of(plan, 'perception').items() >= {
        'reference': str(arm_run), 'model': 'mini', 'passes': 1, 'fit_weights': False}.items()
    assert parameters_of(plan, 'lifecycle_manager') == {'nodes': ['perception', 'policy']}
    managed = {spec.name for spec in plan.nodes if spec.managed}
    assert managed == {'perception', 'policy'}
    assert all(parameters_of(plan, name)['autostart'] is False for name in managed)


def test_hardware_has_its_own_topics_and_no_simulator(arm_run):
    limits = share_file('config/jaco_limits.yaml')
    plan = make_plan(policy=str(arm_run), image='/wrist/color/image_raw', command='/hand/commands',
                     limits=str(limits), device='cuda')
    perception, policy, _ = plan.nodes
    assert dict(perception.remappings) == {'image': '/wrist/color/image_raw',
                                           'camera_info': '/wrist/color/camera_info'}
    assert dict(policy.remappings) == {'command': '/hand/commands'}
    assert perception.parameters['device'] == policy.parameters['device'] == 'cuda'


@pytest.mark.parametrize('interface', ['velocity', 'effort'])
def test_a_controller_that_keeps_moving_is_guarded(tmp_path, arm_run, interface):
    parameters = tmp_path / 'arm.yaml'
    parameters.write_text(f'policy: {{ros__parameters: {{command_interface: {interface}}}}}')
    choices = {'policy': str(arm_run), 'command': '/wheels/commands',
               'limits': str(share_file('config/jaco_limits.yaml'))}
    plan = make_plan(str(parameters), **choices)
    guard, _, policy, manager = plan.nodes
    assert guard.name == 'command_guard' and not guard.managed
    assert guard.parameters == {'command_interface': interface, 'size': 9}
    assert dict(guard.remappings) == {'command': '/wheels/commands'}
    assert dict(policy.remappings) == {'command': 'command_raw'}
    assert manager.parameters == {'nodes': ['perception', 'policy']}
    assert len(make_plan(str(parameters), guard=False, **choices).nodes) == 3
    assert len(make_plan(**choices).nodes) == 3  # config/arm.yaml has positions


def test_the_parameter_file_wins_over_the_checkpoint(tmp_path, arm_run):
    parameters = tmp_path / 'arm.yaml'
    parameters.write_text('/**/perception: {ros__parameters: {passes: 3, min_predicted_iou: 0.4}}\n'
                          '/**/mujoco_bridge: {ros__parameters: {height: 128}}')
    plan = make_plan(str(parameters), policy=str(arm_run), use_sim=True)
    perception = parameters_of(plan, 'perception')
    assert not {'passes', 'min_predicted_iou'} & perception.keys()
    assert perception['fit_weights'] is False and perception['model'] == 'mini'
    assert 'height' not in parameters_of(plan, 'mujoco_bridge')
    assert parameters_of(plan, 'mujoco_bridge')['width'] == 84


def test_a_model_of_the_parameter_file_comes_with_its_own_weights(tmp_path, arm_run):
    parameters = tmp_path / 'arm.yaml'
    parameters.write_text('/**: {ros__parameters: {model: sam2}}')
    perception = parameters_of(make_plan(str(parameters), policy=str(arm_run), use_sim=True),
                               'perception')
    assert not {'model', 'weights'} & perception.keys()


def test_without_a_policy_there_is_camera_and_perception_alone(arm_run):
    plan = make_plan(reference=str(arm_run))
    assert [spec.name for spec in plan.nodes] == ['perception', 'lifecycle_manager']
    assert plan.nodes[0].remappings == CAMERA_REMAPPINGS


def test_a_policy_on_raw_frames_sees_the_camera_itself(tmp_path, arm_run):
    checkpoint = load_checkpoint(arm_run)
    observation = replace(checkpoint.config.observation, source='raw')
    save_checkpoint(tmp_path / 'raw.pt', replace(
        checkpoint, config=replace(checkpoint.config, observation=observation), reference=None))
    plan = make_plan(policy=str(tmp_path / 'raw.pt'), use_sim=True)
    _, policy, manager = plan.nodes
    assert dict(policy.remappings)['camera/image_raw'] == 'camera/image_raw'
    assert manager.parameters == {'nodes': ['policy']}
    policy, _ = make_plan(policy=str(tmp_path / 'raw.pt'), image='/wrist/color/image_raw',
                          limits=str(share_file('config/jaco_limits.yaml'))).nodes
    assert dict(policy.remappings)['camera/image_raw'] == '/wrist/color/image_raw'


def test_episodes_that_cannot_begin_end_with_what_is_missing(graph):
    graph.add(ArmEpisodes, {'patience_s': 0.3})
    with pytest.raises(SamgError, match='the simulation was not reset for 0.3 s'):
        graph.until(lambda: False)


@pytest.mark.parametrize('choices, said', [
    ({'policy': '/no/such/run'}, '/no/such/run'), ({}, 'neither a policy nor a reference'),
    ({'policy': 'RUN'}, 'joint limits'), ({'policy': 'RUN', 'limits': 'x', 'seed': 3}, 'seed'),
    ({'policy': 'RUN', 'use_sim': True, 'image': '/camera'}, 'hardware'),
    ({'policy': 'RUN', 'use_sim': True, 'task': 'arm_lft'}, 'arm_lift'),
    ({'policy': 'RUN', 'use_sim': True, 'setting': 'dark'}, 'dark'),
    ({'policy': 'RUN', 'use_sim': True, 'more_cameras': 'left,,top'}, 'more_cameras are different'),
    ({'policy': 'RUN', 'use_sim': True, 'more_cameras': 'left,left'}, 'more_cameras are different'),
    ({'policy': 'RUN', 'use_sim': True, 'more_cameras': 'camera'}, 'more_cameras are different'),
    ({'policy': 'RUN', 'use_sim': True, 'more_cameras': 'left'}, 'does not see the camera left'),
    ({'policy': 'RUN', 'use_sim': True, 'videos': '/no/videos'}, '/no/videos'),
    ({'reference': 'RUN', 'use_sim': True, 'episodes': 3}, 'episodes need a policy')])
def test_a_wrong_choice_is_a_one_line_error_that_names_it(arm_run, choices, said):
    choices = {name: str(arm_run) if value == 'RUN' else value for name, value in choices.items()}
    with pytest.raises(SamgError, match=said) as caught:
        make_plan(**choices)
    assert '\n' not in str(caught.value)


def test_a_policy_of_two_cameras_gets_both_with_a_reference_each(tmp_path, arm_run):
    one = load_checkpoint(arm_run)
    settings = ChunkSettings(('front', 'left_close'), len(one.config.observation.proprioception), 9,
                             pixels=one.config.observation.pixels_shape)
    run = tmp_path / 'run'
    run.mkdir()
    save_checkpoint(run / 'checkpoint.pt', replace(
        one, agent={CHUNKS: settings.to_json(), NETWORK: ChunkNetwork(settings).state_dict()},
        more_references={'left_close': one.reference}))
    plan = make_plan(policy=str(run), use_sim=True)
    assert parameters_of(plan, 'mujoco_bridge')['more_cameras'] == ['left_close']
    perception = next(spec for spec in plan.nodes if spec.name == 'perception')
    assert perception.parameters.items() >= {
        'cameras': ['front', 'left_close'], 'reference': str(run),
        'left_close.reference': f'{run}/left_close'}.items()
    assert dict(perception.remappings) == {
        'front/image': 'camera/image_raw', 'front/camera_info': 'camera/camera_info',
        'left_close/image': 'left_close/image_raw',
        'left_close/camera_info': 'left_close/camera_info'}
    assert np.array_equal(load_reference(f'{run}/left_close').mask, one.reference.mask)
    with pytest.raises(SamgError, match='also sees the camera left_close; name it in more_cameras'):
        make_plan(policy=str(run), use_sim=True, more_cameras='top_down')
    parameters = tmp_path / 'fast.yaml'
    parameters.write_text(FAST)
    command = Command(tmp_path, *arguments(run, '--episodes', '1', '--record', 'arm.mcap',
                                           '--params-file', str(parameters)))
    assert command.process.wait(300) == 0, command.text()
    assert 'of 1 episodes' in command.text() and 'Traceback' not in command.text()
    bag, policy = open_bag(tmp_path / 'arm.mcap'), load_policy(run)
    assert {f'/left_close/{topic}' for topic in (
        'image_raw', 'camera_info', 'segmentation', 'masked/image_raw', 'masked/mask',
        'masked/quality')} <= bag.topics.keys()
    repeated = compare_commands(bag, policy, TOPIC)
    assert repeated.equal == repeated.commands > 10 and not repeated.lost
    topics = find_topics(bag, more_cameras=policy.more_cameras)
    assert topics.image == '/camera/image_raw'
    result = evaluate_bag(bag, topics, policy.masker(), policy,
                          more_maskers=policy.more_maskers())
    assert result.actions > 10


def test_what_is_recorded_has_all_cameras():
    plan = make_plan(use_sim=True, teleop='expert', demonstrations='bags',
                     more_cameras='left_close,top_down')
    more = ['left_close', 'top_down']
    assert parameters_of(plan, 'mujoco_bridge')['more_cameras'] == more
    assert parameters_of(plan, 'recorder')['more_cameras'] == more
