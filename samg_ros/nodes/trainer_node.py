# SPDX-License-Identifier: Apache-2.0
"""`trainer`: learns from masked frames that come over topics, and answers with commands.

All learning is in `samg_ros.rl.training.learner.Learner`, which the direct trainer uses too. This
node pairs messages, turns them into observations and sends the action. A frame that arrives again
gets the same action again, so lost or repeated messages do not change what is learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from samg_ros.errors import ConfigError, EncodingError, InvalidInputError, SamgError
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, Reference, apply_mask
from samg_ros.observation import Observer
from samg_ros.perception.description import (
    DESCRIPTION_PARAMETER,
    read_description,
    read_fill,
)
from samg_ros.rl.config import IMITATION, PRESETS
from samg_ros.rl.data.demonstrations import DemonstratedSteps, Demonstrations
from samg_ros.rl.data.time_step import TimeStep
from samg_ros.rl.presets import DEFAULT_EPISODES, METHODS, make_config
from samg_ros.rl.training.expert_episodes import ExpertEpisodes, expert_episodes
from samg_ros.rl.training.learner import Learner
from samg_ros.rl.training.simulator_check import FACTS as SIMULATOR_FACTS, check_simulator
from samg_ros.ros import qos
from samg_ros.ros.diagnostics import OK, Diagnostics, Drops, Report
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.messages.images import image_to_mask, image_to_rgb
from samg_ros.ros.messages.pairing import StampPairer, stamp_of
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare, declare_torch_threads
from samg_ros.ros.publishers import UniqueName, other_publishers
from samg_ros.ros.service_calls import RemoteParameters
from samg_ros.step_types import FIRST, LAST, MID


class Trainer(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Read the settings and wait for the simulator.

        Raises:
            SamgError: if a parameter or the reference is not usable.
        """
        super().__init__('trainer', **options)
        self.config = make_config(
            task=declare(self, 'task', 'walker_walk', "Task; the simulator's must be the same."),
            preset_name=declare(self, 'preset', 'quick', 'Preset of the training settings.',
                                choices=PRESETS),
            setting=declare(self, 'setting', 'train', 'Visual setting to train in.'),
            seed=declare(self, 'seed', 0, 'Seed of networks, exploration and replay.',
                         between=(0, 2**31 - 1)),
            steps=declare(self, 'steps', 0, "Agent steps; 0 takes the preset's.",
                          between=(0, 10**9)),
            overrides=declare(self, 'overrides', '', 'Other TrainConfig fields, as JSON.'),
            method=declare(self, 'method', 'rl', "rl: from reward. clone: from the actions of the "
                           "simulator's expert.", choices=METHODS))
        self.run_dir = Path(declare(self, 'run_dir', 'runs/run', 'Folder of the run; a run that '
                                    'is there is resumed.')).expanduser()
        self._device = declare(self, 'device', 'cpu', 'Torch device of the networks.')
        declare_torch_threads(self)
        reference = declare(self, 'reference', '', 'Folder of the reference; goes into the '
                            'checkpoint.')
        self._reference = Reference.load(reference) if reference else None
        self._demonstrations = declare(self, 'demonstrations', '', 'Folder of demonstrations that '
                                       "a new run's replay begins with; empty for none.")
        self._episodes = declare(self, 'evaluation_episodes', DEFAULT_EPISODES, 'Episodes per '
                                 'visual setting in the report; 0 for none.',
                                 between=(0, 1000))
        self._videos = declare(self, 'videos', '', 'Folder of background videos for the report; '
                               'empty for procedural ones.')
        simulator = declare(self, 'simulator', 'mujoco_bridge', 'Node that simulates.')
        perception = declare(self, 'perception', 'perception', 'Node that masks.')

        self.learner: Learner | None = None
        self.answers = 0
        self._observer = Observer(self.config.observation)
        self._in_episode = False
        self._answered: tuple[int, Float64MultiArray] | None = None
        self._repeated = 0
        self._masker_description: dict[str, Any] | None = None
        self.diagnostics = Diagnostics(self, self.config.task)
        self.drops = Drops(self, 'time steps')
        self.diagnostics.add('time steps', self.drops.report)
        self.diagnostics.add('training', self._report)
        self._make_topics()
        UniqueName(self, self._on_conflict)
        self._facts = RemoteParameters(
            self, simulator, SIMULATOR_FACTS, self._on_simulator)
        self._masker_facts: RemoteParameters | None = None
        if self.config.observation.source == 'masked':
            self._masker_facts = RemoteParameters(
                self, perception, (DESCRIPTION_PARAMETER, 'fill', 'more_references'),
                self._on_perception)

    @property
    def progress(self) -> dict[str, Any] | None:
        """`Learner.progress`, None before the first frame."""
        return None if self.learner is None else self.learner.progress

    def finish(self) -> Path:
        """Evaluate the finished run; return its report's path, or its own. May follow close.

        Raises:
            SamgError: if the checkpoint, the simulation or the run folder is not usable.
        """
        if not self._episodes:
            return self.run_dir
        from samg_ros.rl.evaluation.run_report import evaluate_and_report

        return evaluate_and_report(self.run_dir, self._episodes, self._videos or None)

    def close(self) -> None:
        """Save, unless the run is complete and saved already.

        Raises:
            CheckpointError: if the files cannot be written.
        """
        learner, self.learner = self.learner, None
        if learner is None:
            return
        try:
            if not learner.done:
                learner.save()
        finally:
            learner.close()

    # Set-up

    def _make_topics(self) -> None:
        source = self.config.observation.source
        optional: tuple[str, ...] = ()
        required: tuple[str, ...] = ('image', 'time_step')
        if source == 'truth':
            required += ('truth',)
        elif source == 'masked':
            optional = ('mask', 'truth')
        if self.config.observation.proprioception:
            required += ('joints',)
        self._pairer = StampPairer(required, optional)

        def listen(name: str, message_type: Any, topic: str) -> None:
            qos.subscription(
                self, self.diagnostics, message_type, topic,
                lambda message: self._on_message(name, stamp_of(message), message),
                qos.reliable())

        qos.subscription(self, self.diagnostics, Float64MultiArray, 'time_step',
                         self._on_time_step, qos.reliable())
        if 'joints' in required:
            listen('joints', JointState, 'joint_states')
        if source != 'raw':
            listen('truth', Image, 'camera/segmentation')
        if source == 'masked':
            listen('mask', Image, 'masked/mask')
        listen('image', Image, 'masked/image_raw' if source == 'masked' else 'camera/image_raw')
        self._command = qos.publisher(self, self.diagnostics, Float64MultiArray, 'command',
                                      qos.reliable())
        self.create_service(Trigger, '~/save', self._on_save)

    def _on_conflict(self, error: ConfigError) -> None:
        self.error = error

    def _on_simulator(self, facts: dict[str, Any]) -> None:
        try:
            check_simulator(self.config, facts, self._facts.remote)
        except ConfigError as error:
            self.error = error
            return
        self._expert_source = facts['expert_source']
        self._limits = facts['action_low'], facts['action_high']
        self._begin()

    def _on_perception(self, facts: dict[str, Any]) -> None:
        try:
            fill = read_fill(facts['fill'])
            description = read_description(facts[DESCRIPTION_PARAMETER])
        except InvalidInputError as error:
            self.error = error
            return
        if fill != self.config.observation.fill:
            self.error = ConfigError(
                f'perception fills with {list(fill)}, the trainer expects '
                f'{list(self.config.observation.fill)}; give both the same')
            return
        if facts['more_references'] and any(facts['more_references']):
            self.error = ConfigError(
                f"perception has more_references {list(facts['more_references'])}, but a "
                'checkpoint carries one reference of one object; leave them out')
            return
        self._masker_description = description
        self._begin()

    def _begin(self) -> None:
        """Make the learner once everything is known."""
        if not self._facts.ready or self._masker_facts is not None and not self._masker_facts.ready:
            return
        if others := other_publishers(self, 'command'):
            self.error = ConfigError(f'{", ".join(others)} publishes commands too, so what is '
                                     'learned would be wrong; end it')
            return
        try:
            self.learner = Learner(
                self.config, *self._limits, self.run_dir, reference=self._reference,
                masker_description=self._masker_description, device=self._device,
                demonstrations=self._demonstrated(), facts=self._run_facts())
        except SamgError as error:
            self.error = error
            return
        self.finished = self.learner.done
        self.get_logger().info(f'training {self.config.task} in {self.run_dir}, from step '
                               f'{self.learner.progress["step"]} of {self.config.steps}')

    def _run_facts(self) -> dict[str, Any]:
        if self.config.agent != IMITATION:
            return {}
        return {'masks': 'masker', 'expert': self._expert_source}

    def _demonstrated(self) -> DemonstratedSteps | ExpertEpisodes | None:
        """What the replay begins with, masked as perception masks."""
        if not self._demonstrations and not self.config.expert_episodes:
            return None
        masker = None
        if self._masker_description is not None and self._reference is not None:
            masker = Masker.from_description(self._masker_description, self._device)
            masker.fit(self._reference)
        if not self._demonstrations:
            return expert_episodes(self.config, self.run_dir, masker)
        return DemonstratedSteps(
            Demonstrations(self._demonstrations), self.config, *self._limits, masker)

    # Frames

    def _on_time_step(self, message: Float64MultiArray) -> None:
        try:
            info = time_step.from_message(message)
        except SamgError as error:
            self.drops.add('time_step', str(error))
            return
        self._on_message('time_step', info.stamp, info)

    def _on_message(self, name: str, stamp: time_step.Stamp, message: Any) -> None:
        messages = self._pairer.add(name, stamp, message)
        if messages is None or self.learner is None or self.finished or self.error is not None:
            return  # a frame that comes before the learner is there comes again
        info = messages['time_step']
        if self._answered is not None and self._answered[0] == info.frame_index:
            self._repeated += 1
            self._command.publish(self._answered[1])
            return
        try:
            step = self._observe(info, messages)
        except (InvalidInputError, EncodingError) as error:
            self.drops.add('frame', str(error))
            return
        try:
            action = self.learner.step(step)
        except SamgError as error:  # any other is a fault of the program, and ends it as one
            self.error = error
            return
        answer = command.to_message(action, info.frame_index)
        self._answered = info.frame_index, answer
        self.answers += 1
        if self.learner.done:
            self.finished = True
            return
        self._command.publish(answer)

    def _observe(self, info: time_step.StepInfo, messages: dict[str, Any]) -> TimeStep:
        """Turn the messages of one time step into what the learner takes."""
        spec = self.config.observation
        frame = image_to_rgb(messages['image'])
        iou = None
        if 'truth' in messages:
            truth: Any = image_to_mask(messages['truth'])
            if spec.source == 'truth':
                frame = apply_mask(frame, truth, spec.fill)
            elif 'mask' in messages:
                iou = float(mask_iou(image_to_mask(messages['mask']), truth))
        joints = messages.get('joints')
        positions = None if joints is None else spec.select_joints(joints.name, joints.position)
        begins = info.step_type == FIRST or not self._in_episode
        if begins:  # also when the trainer joins in the middle of an episode
            observation = self._observer.reset(frame, positions)
        else:
            observation = self._observer.push(frame, positions)
        joined = begins and info.step_type == MID
        self._in_episode = info.step_type != LAST
        return TimeStep(observation, 0.0 if joined else info.reward, info.discount,
                        FIRST if joined else info.step_type, iou,
                        np.asarray(info.expert) if info.expert else None)

    # Service and diagnostics

    def _on_save(self, request: Any, response: Any) -> Any:
        if self.learner is None:
            response.success, response.message = False, 'there is nothing to save yet'
            return response
        try:
            self.learner.save()
        except SamgError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f'saved in {self.run_dir}'
        return response

    def _report(self) -> Report:
        progress = self.progress
        if progress is None:
            missing = [facts.remote for facts in (self._facts, self._masker_facts)
                       if facts is not None and not facts.ready]
            return Report(OK, f'waiting for {" and ".join(missing) or "the learner"}')
        values = {**progress, 'repeated': self._repeated, 'incomplete': self._pairer.incomplete}
        return Report(OK, f'step {progress["step"]} of {progress["steps"]}', values)
