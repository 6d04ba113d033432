# SPDX-License-Identifier: Apache-2.0
"""config/sros2 gives every node of a running graph what it uses, and nothing else.

SAMG_WRITE_SROS2=1 writes the policies anew from the running graphs; the diff is then to be judged.
"""

import os
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.signals import SignalHandlerOptions

from samg_ros.bags.recording import Recording
from samg_ros.files.share import share_file
from samg_ros.graphs import (
    arm as arm_plan,
    bag_eval as bag_eval_plan,
    sim_eval as sim_eval_plan,
    sim_train as train_plan,
)
from samg_ros.graphs.one_process import make_node
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.nodes.recorder_node import Recorder
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.node import close
from samg_ros.sim.env import SimEnv

FOLDER = Path(__file__).parents[2] / 'config' / 'sros2'
KINDS = {('topics', 'publish'): 'get_publisher_names_and_types_by_node',
         ('topics', 'subscribe'): 'get_subscriber_names_and_types_by_node',
         ('services', 'reply'): 'get_service_names_and_types_by_node',
         ('services', 'request'): 'get_client_names_and_types_by_node'}
"""Element and attribute of a privilege -> what says in the ROS graph who uses it."""
TINY = '{"batch_size": 8, "hidden_dim": 16, "action_repeat": 100}'


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    """An untrained policy of the arm, its reference and a bag of its camera."""
    folder = tmp_path_factory.mktemp('run')
    env = SimEnv('arm_reach')
    step = env.reset()
    low, high = env.action_spec
    env.close()
    reference = Reference(step.frame, np.array(step.mask))
    reference.save(folder / 'reference')
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1)).fit(reference)
    config = TrainConfig(task='arm_reach', hidden_dim=16,
                         observation=ObservationSpec(proprioception=step.joint_names))
    save_checkpoint(folder / 'checkpoint.pt', Checkpoint(
        config, low, high, DrQv2Agent(config, len(low)).state_dict(), reference=reference,
        masker=masker.describe()))
    return folder


def sim_train(folder, tmp_path):
    plan = train_plan.make_plan('arm_reach', method='rl', overrides=TINY, run_dir=tmp_path / 'run',
                                reference=folder / 'reference')
    train_plan.prepare_reference(plan)
    fit = {'fit_weights': False, 'passes': 1}
    return train_plan.PARAMETER_FILE, [
        replace(spec, parameters={**spec.parameters, **fit}) if spec.name == 'perception' else spec
        for spec in plan.nodes]


def sim_eval(folder, tmp_path):
    return sim_eval_plan.PARAMETER_FILE, sim_eval_plan.make_nodes(str(folder))


def arm(folder, tmp_path):
    return arm_plan.PARAMETER_FILE, arm_plan.make_plan(policy=str(folder), use_sim=True).nodes


def bag_eval(folder, tmp_path):
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo, Image, JointState

    recording = Recording(tmp_path / 'bag.mcap')
    for topic, kind in (('camera/image_raw', Image), ('camera/camera_info', CameraInfo),
                        ('joint_states', JointState)):
        recording.add(f'/{topic}', f'sensor_msgs/msg/{kind.__name__}', 0, serialize_message(kind()))
    recording.close()
    plan = bag_eval_plan.make_plan(str(tmp_path / 'bag.mcap'), str(folder),
                                   out=str(tmp_path / 'out'))
    waiting = replace(plan.player, parameters={**plan.player.parameters, 'listeners': 100})
    return bag_eval_plan.PARAMETER_FILE, [*plan.nodes, waiting]


def used(probe, name):
    """What a running node uses: (element, attribute) -> full names."""
    return {kind: {each for each, _ in getattr(probe, ask)(name, '/')}
            for kind, ask in KINDS.items()}


def granted(profile):
    """What a profile of the policy allows."""
    found = {kind: set() for kind in KINDS}
    for element in profile:
        for attribute, rule in element.attrib.items():
            assert rule == 'ALLOW'
            found[element.tag, attribute] |= {name.text for name in element}
    return found


def write(path, graph, privileges):
    policy = ElementTree.Element('policy', version='0.2.0')
    enclaves = ElementTree.SubElement(policy, 'enclaves')
    for name, kinds in sorted(privileges.items()):
        enclave = ElementTree.SubElement(enclaves, 'enclave', path=f'/samg_ros/{graph}/{name}')
        profile = ElementTree.SubElement(ElementTree.SubElement(enclave, 'profiles'), 'profile',
                                         ns='/', node=name)
        for (element, attribute), names in kinds.items():
            if names:
                listed = ElementTree.SubElement(profile, element, {attribute: 'ALLOW'})
                for each in sorted(names):
                    ElementTree.SubElement(listed, element.removesuffix('s')).text = each
    ElementTree.indent(policy)
    path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n'
                    + ElementTree.tostring(policy, encoding='unicode') + '\n')


@pytest.mark.parametrize('make', [sim_train, sim_eval, arm, bag_eval])
def test_a_node_may_do_what_it_does_and_nothing_else(make, run_dir, tmp_path, monkeypatch):
    graph = make.__name__
    parameter_file, specs = make(run_dir, tmp_path)
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)  # lifecycle nodes before us left traces
    choose_domain()
    rclpy.init(args=['--ros-args', '--params-file', str(share_file(parameter_file))],
               signal_handler_options=SignalHandlerOptions.NO)
    executor, nodes = make_executor(), []
    probe = rclpy.create_node('probe')
    try:
        if graph != 'bag_eval':
            nodes.append(Recorder(tmp_path / 'session.mcap'))
        for spec in specs:
            nodes.append(make_node(spec))
        for node in nodes:
            executor.add_node(node)
            node.start()
        names = [node.get_name() for node in nodes]

        def now():
            for node in nodes:
                if node.error is not None:
                    raise node.error
            return {name: used(probe, name) for name in names}

        found = settled(executor, now,
                        lambda: all(getattr(node, 'active', True) for node in nodes))
    finally:
        close(list(reversed(nodes)))
        probe.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
    path = FOLDER / f'{graph}.policy.xml'
    if os.environ.get('SAMG_WRITE_SROS2'):
        write(path, graph, found)
    policy = ElementTree.parse(path).getroot()
    assert policy.tag == 'policy' and policy.attrib == {'version': '0.2.0'}
    enclaves = {enclave.attrib['path']: enclave for enclave in policy.iter('enclave')}
    assert enclaves.keys() == {f'/samg_ros/{graph}/{name}' for name in names}
    for name in names:
        (profile,) = enclaves[f'/samg_ros/{graph}/{name}'].iter('profile')
        assert profile.attrib == {'ns': '/', 'node': name}
        assert granted(profile) == found[name], name


def settled(executor, now, up, quiet_s=2.0, timeout_s=120.0):
    """Spin until all are up and nobody gains or loses a name; return what there is then."""
    found, since, deadline = {}, time.monotonic(), time.monotonic() + timeout_s
    while time.monotonic() - since < quiet_s or not up():
        assert time.monotonic() < deadline, 'the graph does not settle'
        executor.spin_once(timeout_sec=0.05)
        seen = now()
        if seen != found:
            found, since = seen, time.monotonic()
    return found
