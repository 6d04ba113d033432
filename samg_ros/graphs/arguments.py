# SPDX-License-Identifier: Apache-2.0
"""The arguments of the graphs, for their launch files and for `samg run` alike.

`ros2 launch samg_ros sim_train.launch.py run_dir:=there` and `samg run sim_train --run-dir there`
are the same choice, so it has one name, one default and one description, here. Imports nothing
heavy: the command line is parsed before the seconds in which torch is imported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samg_ros.arguments import OutputFile, RunFolder, add_overwrite, optional_path, seed, whole
from samg_ros.errors import ConfigError


@dataclass(frozen=True)
class Argument:
    """One choice that a graph offers."""

    name: str
    """As in a launch file; the command line has dashes for its underscores."""
    default: str | int | bool
    """Also says the type."""
    description: str
    """One sentence; what an empty or zero value stands for."""
    choices: tuple[str, ...] = ()
    """The only values; empty for any."""
    old_name: str = ''
    """Still taken: by a launch file with a warning, by the command line as a short form."""

    def read(self, text: str) -> str | int | bool:
        """Return the value in a launch argument.

        Raises:
            ConfigError: if the text is not of the type of the default.
        """
        if isinstance(self.default, bool):
            if text.lower() not in ('true', 'false'):
                raise ConfigError(f'launch argument {self.name}:={text} must be true or false')
            return text.lower() == 'true'
        if isinstance(self.default, int):
            try:
                return int(text)
            except ValueError as error:
                raise ConfigError(
                    f'launch argument {self.name}:={text} must be a whole number') from error
        return text


def add_to_parser(parser: argparse.ArgumentParser, arguments: Sequence[Argument]) -> None:
    """Declare arguments on a command's parser; booleans become switches."""
    for argument in arguments:
        options: dict[str, Any] = {'help': _as_help(argument.description)}
        if isinstance(argument.default, bool):
            options['action'] = argparse.BooleanOptionalAction if argument.default else 'store_true'
        else:
            options['type'] = _argument_type(argument)
            options['metavar'] = None if argument.choices else argument.name.upper()
            options['choices'] = argument.choices or None
            if argument.default not in ('', 0):
                options['help'] += ' (%(default)s)'
            if argument.name in _OUTPUTS:
                options['action'] = _OUTPUTS[argument.name]
            if argument.name == 'json':
                add_overwrite(parser)
        names = [f'--{name.replace("_", "-")}' for name in (argument.name, argument.old_name)
                 if name]
        parser.add_argument(*names, default=argument.default, **options)


_OUTPUTS: dict[str, type[argparse.Action]] = {
    'json': OutputFile, 'out': RunFolder, 'run_dir': RunFolder}
_PATHS = {'bag', 'demonstrations', 'expert', 'json', 'limits', 'out', 'params_file', 'policy',
          'reference', 'run_dir', 'videos'}


def _argument_type(argument: Argument) -> Callable[[str], Any]:
    if argument.name in _PATHS:
        return optional_path
    if isinstance(argument.default, int):
        return seed if argument.name == 'seed' else whole(0)
    return str


def add_record(parser: argparse.ArgumentParser) -> None:
    """Declare `--record`, which is for one process; with a launch file goes `ros2 bag record`."""
    parser.add_argument('--record', action=OutputFile, default=None, metavar='FILE.mcap',
                        help='record what went in, what was made of it and the commands, for samg '
                        'eval bag')


def _as_help(sentence: str) -> str:
    """A sentence as argparse's help has it: no capital, unless an acronym begins it, and no dot."""
    acronym = sentence[:2].isupper()
    return (sentence if acronym else sentence[0].lower() + sentence[1:]).rstrip('.').replace(
        '%', '%%')


def from_namespace(args: argparse.Namespace, arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return name -> value of a parsed command line."""
    return {argument.name: getattr(args, argument.name) for argument in arguments}


def from_launch(given: Mapping[str, str], arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return name -> value of a launch file's arguments.

    Raises:
        ConfigError: if one is not of its type.
    """
    return {argument.name: argument.read(given[argument.name]) for argument in arguments}


def params_file(config: str) -> Argument:
    """Return the argument for the nodes' parameter file; empty for one of config/."""
    return Argument('params_file', '', "ROS parameters of the nodes; empty for the package's "
                    f'{config}.')


SEED = Argument('seed', 0, 'Seed of everything random.')
VIDEOS = Argument('videos', '', 'Folder of background videos for the video settings; empty for '
                  'procedural ones.')
SETTING = Argument('setting', 'train', 'Visual setting: train, color_easy, color_hard, video_easy '
                   'or video_hard.')

SIM_TRAIN = (
    Argument('task', 'cartpole_swingup', 'Task to train on, such as walker_walk or '
             'cartpole_swingup.'),
    SETTING,
    Argument('method', '', 'How to train: clone, from the actions of an expert that sees the '
             "simulator's state, or rl, from reward; empty takes clone where the package has an "
             'expert that gets further, see docs/learning.md.', choices=('', 'clone', 'rl')),
    Argument('expert', '', "File of a clone's expert, see samg train expert; empty for the "
             "package's."),
    Argument('preset', 'quick', 'Training settings: quick (two CPU cores, minutes), evening (three '
             'hours) or paper (a GPU).'),
    Argument('reference', '', 'Reference folder or image that says what matters; empty to render '
             'one from the simulator into the run folder.'),
    VIDEOS,
    Argument('model', '', 'Masking model: mini, or a pair such as dinov2-b+sam-vit-b; empty takes '
             "the parameter file's, mini."),
    Argument('weights', '', "Weights of the model, NAME=PATH,NAME=PATH for a pair; empty for the "
             "package's."),
    Argument('device', '', "Torch device of masker and learner; empty takes the parameter file's, "
             'cpu.'),
    Argument('temporal', '', 'How the masker treats frames that follow one another: prior looks '
             'first where the object was in the frame before; off; empty takes the parameter '
             "file's, off.", choices=('', 'off', 'prior')),
    Argument('run_dir', '', 'Run folder; empty for runs/TASK-clone-SEED, or of the method rl '
             'runs/TASK-PRESET-SEED. A run that is there goes on.'),
    SEED,
    Argument('steps', 0, "Agent steps; 0 takes the preset's."),
    Argument('overrides', '', 'Other training settings as JSON, such as {"batch_size": 64}.'),
    Argument('demonstrations', '', 'Folder of demonstrations to begin the replay with; see samg '
             'demonstrations import.'),
    Argument('episodes', 5, 'Episodes per visual setting in the report; 0 for none.'),
)
"""Arguments of `samg_ros.graphs.sim_train.make_plan`."""

ARM = (
    Argument('policy', '', 'Checkpoint file or run folder of the policy; empty for none: camera '
             'and perception alone, to look at the masks.'),
    Argument('use_sim', False, 'Simulate arm and camera in place of the hardware.',
             old_name='sim'),
    Argument('reference', '', "Reference folder or image that says what matters; empty takes the "
             "policy's own."),
    Argument('image', '', "The camera's image topic, with camera_info beside it; empty for "
             'camera/image_raw.'),
    Argument('more_cameras', '', 'Names of further cameras, NAME[,NAME], whose topics are '
             "NAME/image_raw and NAME/camera_info; empty takes the policy's. The simulated arm has "
             'left_close, right_close and top_down.'),
    Argument('command', '', "The controller's command topic; empty for "
             'forward_position_controller/commands.'),
    Argument('guard', True, 'Pass commands through command_guard where the controller takes '
             'velocities or efforts, so that the arm stops when the policy is killed.'),
    Argument('limits', '', "YAML file of the arm's joint limits; empty with use_sim only, for "
             'those of the simulated arm.'),
    Argument('model', '', "Masking model; empty takes the policy's, or the parameter file's."),
    Argument('weights', '', "Weights of the model; empty for the package's."),
    Argument('device', '', "Torch device of masker and policy; empty takes the parameter file's, "
             'cpu.'),
    Argument('task', '', "Task of the simulated arm; empty takes the policy's, or the parameter "
             "file's, arm_reach."),
    SETTING, VIDEOS, SEED,
    Argument('episodes', 0, 'Episodes of the simulated arm to try the policy in, one after the '
             'other; 0 to run on and leave enabling it to you.'),
    Argument('json', '', 'File for the figures of the episodes; empty for none.'),
    Argument('teleop', '', 'Drive the arm by hand in place of a policy: topic (a leader arm), joy, '
             'keyboard, or expert, which stands in for a person in simulation; empty for none.',
             choices=('', 'topic', 'joy', 'keyboard', 'expert')),
    Argument('demonstrations', '', 'Folder to record demonstrations in, a bag for each episode; '
             'empty for none.'),
    Argument('demonstrated', '', 'What is demonstrated, in words; empty takes the name of the '
             'simulated task.'),
    Argument('note', '', "The operator's note, kept in each bag."),
)
"""Arguments of `samg_ros.graphs.arm.make_plan`; those from `task` to `json` need `use_sim`."""

POLICY = Argument('policy', '', 'Checkpoint file or run folder of the policy, or the task of one '
                  'that comes with the package.')
DEVICE = Argument('device', 'cpu', 'Torch device of masker and policy.')

SIM_EVAL = (
    POLICY, SETTING, VIDEOS,
    Argument('reference', '', "Reference folder or image that says what matters; empty takes the "
             "policy's own."),
    Argument('episodes', 10, 'Episodes to run, each with a return of its own.'),
    SEED, DEVICE,
    Argument('json', '', 'File for the returns; empty for none.'),
)
"""Arguments of `samg_ros.graphs.sim_eval.make_nodes`."""

BAG_EVAL = (
    Argument('bag', '', 'Folder or file of the bag.'),
    Argument('policy', '', 'Checkpoint file or run folder of the policy that acts; empty for none: '
             'masks alone.'),
    Argument('reference', '', "Reference folder or image that says what matters; empty takes the "
             "policy's own."),
    Argument('model', '', "Masking model; empty takes the policy's, or the parameter file's."),
    Argument('weights', '', "Weights of the model; empty for the package's."),
    DEVICE,
    Argument('image', '', "Topic of the camera; empty for the bag's only one."),
    Argument('truth', '', 'Topic of true masks; empty for segmentation beside the camera.'),
    Argument('joint_states', '', 'Topic of the joints; empty for joint_states.'),
    Argument('command', '', 'Topic of the recorded actions; empty for command.'),
    Argument('rate', '1.0', 'Speed of playing; 2.0 is twice as fast.'),
    Argument('out', 'bag_eval', 'Folder for page, video, figures and the recording; must not hold '
             'a recording yet.'),
    Argument('json', '', 'Further file for the figures; empty for none.'),
)
"""Arguments of `samg_ros.graphs.bag_eval.make_plan`."""
