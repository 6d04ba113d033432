# SPDX-License-Identifier: Apache-2.0
"""The graph in front of an arm: one set of choices, turned into nodes and their parameters.

A checkpoint knows its reference, its masker and its camera's size, so what perception and the
simulated camera have to agree on with the policy is read from there. A parameter file of the user
wins over the checkpoint; `policy` then warns of each setting that differs from training.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samg_ros.arm.settings import KEEPS_MOVING
from samg_ros.errors import ConfigError, VideoError
from samg_ros.files.share import absolute, parameter_file, share_file
from samg_ros.graphs.arguments import ARM
from samg_ros.graphs.checkpoint_parameters import of_bridge, of_perception
from samg_ros.graphs.spec import CAMERA_REMAPPINGS, NodeSpec, Remappings, given_only
from samg_ros.rl.evaluation.actors import camera_names
from samg_ros.rl.evaluation.shipped import find_checkpoint
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint
from samg_ros.ros.given_parameters import given_parameters, unless_given
from samg_ros.sim.tasks import COMMAND_TOPICS, get_task
from samg_ros.sim.visual.settings import get_setting

PARAMETER_FILE = 'config/arm.yaml'
SIMULATED_LIMITS = 'config/jaco_limits.yaml'
_IMAGE, _INFO = (topic for _, topic in CAMERA_REMAPPINGS)
_SIM_ONLY = ('task', 'setting', 'videos', 'seed', 'episodes', 'json')
_TASK = 'arm_reach'
MAIN_CAMERA = 'camera'
"""Name of the main camera where there are several, and no policy gives it another."""
EXPERT = 'expert'
"""The operator that stands in for a person, in simulation."""
MANAGER, EPISODES = 'lifecycle_manager', 'arm_episodes'
"""Names of the nodes that say when all is over."""

CAMERAS: Mapping[str, NodeSpec] = {
    'usb_cam': NodeSpec('usb_cam', package='usb_cam', executable='usb_cam_node_exe', remappings=(
        ('image_raw', _IMAGE), ('image_raw/compressed', f'{_IMAGE}/compressed'),
        ('camera_info', _INFO))),
    'realsense2_camera': NodeSpec(
        'realsense2_camera', package='realsense2_camera', executable='realsense2_camera_node',
        remappings=(('~/color/image_raw', _IMAGE),
                    ('~/color/image_raw/compressed', f'{_IMAGE}/compressed'),
                    ('~/color/camera_info', _INFO))),
}
"""Drivers that a launch file can start, which publish where the simulated camera does."""


@dataclass(frozen=True)
class ArmPlan:
    """The nodes around the policy, if there is one, and their settings."""

    given: Mapping[str, Any]
    """The arguments ARM by their names."""
    checkpoint: Checkpoint | None
    policy: Path | None
    """Where it was loaded from."""
    limits: Path | None
    params_file: str = ''
    """Parameter file of the user; empty for the package's."""

    @property
    def sim(self) -> bool:
        """Whether arm and camera are simulated."""
        return bool(self.given['use_sim'])

    @property
    def masks(self) -> bool:
        """Whether there is anything to mask."""
        if self.checkpoint is None:
            return not self.teleop or bool(self.given['reference'])
        return self.checkpoint.config.observation.source != 'raw'

    @property
    def teleop(self) -> str:
        """How a person drives the arm; empty where none does."""
        return str(self.given['teleop'])

    @property
    def task(self) -> str:
        """Task of the simulated arm; empty: the one that the parameter file names."""
        trained = '' if self.checkpoint is None else self.checkpoint.config.task
        return str(self.given['task'] or trained)

    @property
    def cameras(self) -> dict[str, str]:
        """Name of each camera -> its image topic, the main one first; the only one has no name."""
        trained = ('',) if self.checkpoint is None else camera_names(self.checkpoint.agent)
        more = self.given['more_cameras'].split(',') if self.given['more_cameras'] else trained[1:]
        main = trained[0] or (MAIN_CAMERA if more else '')
        return {main: self._camera[0][1], **{name: f'{name}/image_raw' for name in more}}

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The graph, causes before effects, but for a camera's driver."""
        managed = [*([self._perception] if self.masks else []),
                   *([self._policy] if self.policy else []),
                   *([self._teleop] if self.teleop else [])]
        names = [spec.name for spec in managed]
        return (*([self._bridge] if self.sim else []),
                *([self._guard] if self.guarded else []),
                *(replace(spec, parameters={**spec.parameters, 'autostart': False}, managed=True)
                  for spec in managed),
                NodeSpec(MANAGER, {'nodes': names}),
                *([self._recorder] if self.given['demonstrations'] else []),
                *([self._episodes] if self.episodes else []))

    @property
    def command_interface(self) -> str:
        """What the controller takes, by the parameter file."""
        file = parameter_file(self.params_file, PARAMETER_FILE)
        node = 'teleop' if self.teleop else 'policy'
        return str(given_parameters(file, node).get('command_interface', 'velocity'))

    @property
    def guarded(self) -> bool:
        """Whether commands pass `command_guard`: a controller that keeps moving is stopped."""
        return bool((self.policy or self.teleop) and self.given['guard']
                    and self.command_interface in KEEPS_MOVING)

    @property
    def episodes(self) -> int:
        """How many to try; 0 to run on."""
        return int(self.given['episodes'])

    @property
    def recorded(self) -> Remappings:
        """The names that the recorder's topics have here; of masks, the main camera's."""
        main = next(iter(self.cameras))
        masks = tuple((f'masked/{topic}', f'{main}/masked/{topic}') for topic in (
            'image_raw', 'camera_info', 'mask', 'quality')) if main else ()
        return ((_IMAGE, self._camera[0][1]), (_INFO, self._camera[1][1]),
                (COMMAND_TOPICS['position'], self._command[0][1]), *masks)

    @property
    def _camera(self) -> Remappings:
        image = self.given['image'] or _IMAGE
        return ('image', image), ('camera_info', _info_of(image))

    @property
    def _command(self) -> Remappings:
        """Of who commands the controller, the guard or the policy."""
        return (('command', self.given['command'] or COMMAND_TOPICS['position']),)

    @property
    def _guard(self) -> NodeSpec:
        size = 0 if self.checkpoint is None else len(self.checkpoint.action_low)
        return NodeSpec('command_guard', {'command_interface': self.command_interface,
                                          'size': size}, self._command)

    @property
    def _bridge(self) -> NodeSpec:
        given = self.given
        trained = {} if self.checkpoint is None else unless_given(
            of_bridge(self.checkpoint), self.params_file, 'mujoco_bridge')
        return NodeSpec('mujoco_bridge', {
            'task': self._simulated_task, **trained, 'setting': given['setting'],
            'seed': given['seed'], 'videos': absolute(given['videos']), **self._more_cameras,
            **({'operator': True} if self.teleop == EXPERT else {})})

    @property
    def _more_cameras(self) -> dict[str, Any]:
        """The parameter of those that simulate and record."""
        more = [*self.cameras][1:]
        return {'more_cameras': more} if more else {}

    @property
    def _perception(self) -> NodeSpec:
        given = self.given
        trained = {} if self.checkpoint is None else unless_given(
            of_perception(self.checkpoint), self.params_file, 'perception')
        chosen = given_only({name: given[name] for name in ('model', 'weights', 'device')})
        if given['model']:
            trained['weights'] = ''  # those of the policy and of the file are of another model
        elif 'model' not in trained:
            trained.pop('weights', None)  # the file names another model
        reference = absolute(given['reference']) or str(self.policy)
        main, *more = self.cameras
        remappings: Remappings = self._camera
        if more:
            chosen['cameras'] = [main, *more]
            remappings = tuple(each for name, topic in self.cameras.items() for each in (
                (f'{name}/image', topic), (f'{name}/camera_info', _info_of(topic))))
            if self.checkpoint is not None and not given['reference']:
                chosen |= {f'{name}.reference': f'{self.policy}/{name}' for name in more}
        return NodeSpec('perception', {**trained, **chosen, 'reference': reference}, remappings)

    @property
    def _policy(self) -> NodeSpec:
        frames = () if self.masks else tuple(
            (f'{name or MAIN_CAMERA}/image_raw', topic) for name, topic in self.cameras.items())
        command = (('command', 'command_raw'),) if self.guarded else self._command
        return NodeSpec('policy', {
            **given_only({'device': self.given['device']}), 'checkpoint': str(self.policy),
            'limits': str(self.limits)}, (*command, *frames))

    @property
    def _teleop(self) -> NodeSpec:
        command = (('command', 'command_raw'),) if self.guarded else self._command
        return NodeSpec('teleop', {'source': 'topic' if self.teleop == EXPERT else self.teleop,
                                   'limits': str(self.limits)}, command)

    @property
    def _recorder(self) -> NodeSpec:
        given = self.given
        camera = self._camera if given['image'] else CAMERA_REMAPPINGS
        return NodeSpec('recorder', {
            'folder': absolute(given['demonstrations']),
            'task': given['demonstrated'] or self._simulated_task, 'note': given['note'],
            'reference': absolute(given['reference']), **self._more_cameras},
            ((_IMAGE, camera[0][1]), (_INFO, camera[1][1]),
             (COMMAND_TOPICS['position'], self._command[0][1])))

    @property
    def _simulated_task(self) -> str:
        """Of the simulation: given, else the policy's, the parameter file's, or arm_reach."""
        if not self.sim:
            return ''
        file = parameter_file(self.params_file, PARAMETER_FILE)
        return self.task or str(given_parameters(file, 'mujoco_bridge').get('task', _TASK))

    @property
    def _episodes(self) -> NodeSpec:
        repeat = 1 if self.checkpoint is None else self.checkpoint.config.action_repeat
        return NodeSpec(EPISODES, {
            'episodes': self.episodes,
            'success_steps': get_task(self._simulated_task).success_steps,
            'action_repeat': repeat, 'actor': 'teleop' if self.teleop else 'policy',
            'record': bool(self.given['demonstrations']),
            'setting': self.given['setting'], 'seed': self.given['seed'],
            'json': absolute(self.given['json'])})


def _info_of(image: str) -> str:
    """Return the topic of a camera's intrinsics: beside its image."""
    return posixpath.join(posixpath.dirname(image), 'camera_info')


def make_plan(params_file: str = '', **given: Any) -> ArmPlan:
    """Check the choices of a graph and complete them.

    Args:
        params_file: parameter file of the user; empty for the package's.
        **given: the arguments ARM by their names; those left out take their defaults.

    Raises:
        SamgError: if one of them is not usable, or two do not go together.
    """
    defaults = {argument.name: argument.default for argument in ARM}
    if unknown := given.keys() - defaults:
        raise ConfigError(f"no argument of the arm's graph: {', '.join(sorted(unknown))}")
    given = {**defaults, **given}
    if given['use_sim']:
        if given['image'] or given['command']:
            raise ConfigError('image and command are for hardware: the simulated arm has topics '
                              'of its own; leave them out, or leave out use_sim')
        get_setting(given['setting'])
    elif extra := [argument.name for argument in ARM if argument.name in _SIM_ONLY
                   and given[argument.name] != argument.default]:
        raise ConfigError(f'{", ".join(extra)} only apply to the simulated arm; add use_sim, or '
                          'leave them out')
    if given['task']:
        get_task(given['task'])
    if given['episodes'] and not given['policy'] and not given['teleop']:
        raise ConfigError('episodes need a policy or teleop; give one')
    _check_teleop(given)
    if given['videos'] and not Path(given['videos']).expanduser().is_dir():
        raise VideoError(f"there is no folder of videos at '{given['videos']}'")
    if (more := given['more_cameras'].split(',')) != [''] and (
            not all(more) or len({MAIN_CAMERA, *more}) <= len(more)):
        raise ConfigError(f"more_cameras are different names with commas in between, none of them "
                          f"'{MAIN_CAMERA}', not '{given['more_cameras'][:60]}'")
    policy = find_checkpoint(Path(given['policy']).expanduser()).resolve() if given['policy'] \
        else None
    plan = ArmPlan(given, None if policy is None else load_checkpoint(policy), policy,
                   _limits(given), params_file)
    _check_cameras(plan)
    if plan.masks and not given['reference'] and not plan.teleop:
        if plan.checkpoint is None:
            raise ConfigError('neither a policy nor a reference is given, so nothing says what to '
                              'cut out; give one of them (samg reference render makes a reference '
                              'of a simulated task)')
        if plan.checkpoint.reference is None:
            raise ConfigError(f"the policy in '{policy}' carries no reference; give one that shows "
                              'what matters')
    return plan


def _check_cameras(plan: ArmPlan) -> None:
    """Refuse cameras that are not the policy's."""
    if plan.checkpoint is None:
        return
    seen, there = camera_names(plan.checkpoint.agent)[1:], [*plan.cameras][1:]
    if missing := [name for name in seen if name not in there]:
        raise ConfigError(f'the policy also sees the camera {", ".join(missing)}; name it in '
                          'more_cameras, or leave that out')
    if plan.masks and (unseen := [name for name in there if name not in seen]):
        raise ConfigError(f'the policy does not see the camera {", ".join(unseen)}; leave it out '
                          'of more_cameras')


def _check_teleop(given: Mapping[str, Any]) -> None:
    """Refuse choices that do not go together with an operator."""
    if given['teleop'] and given['policy']:
        raise ConfigError('a policy and an operator would both command the arm; give policy or '
                          'teleop')
    if given['teleop'] == EXPERT and not given['use_sim']:
        raise ConfigError(f"teleop '{EXPERT}' reads the state of the simulation; add use_sim")
    if given['demonstrations'] and not (given['teleop'] or given['policy']):
        raise ConfigError('demonstrations need an operator or a policy that moves the arm; give '
                          'teleop')


def _limits(given: Mapping[str, Any]) -> Path | None:
    """Return the file of joint limits; None where there is no policy."""
    if given['limits']:
        return Path(given['limits']).expanduser().resolve()
    if given['use_sim']:
        return share_file(SIMULATED_LIMITS)
    if not given['policy'] and not given['teleop']:
        return None
    raise ConfigError('a policy or an operator moves an arm only within limits: give the joint '
                      'limits of the arm as limits; docs/deploy.md says what the file looks like')
