# SPDX-License-Identifier: Apache-2.0
"""The `samg` command: verb, noun, and the module that does the work.

A command's module offers `add_arguments(parser)` and `run(args)`, which returns an exit status or
None. It is imported only when its command is the one that was typed, so `samg --help` is there at
once although torch, MuJoCo and ROS are not. A new command is one line in COMMANDS.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from samg_ros import __version__
from samg_ros.arguments import check_outputs
from samg_ros.errors import ConfigError, SamgError, missing_dependency, plain
from samg_ros.files.text import take_any_terminal
from samg_ros.interruption import interrupt_on_signals
from samg_ros.ros.signals import INTERRUPTED

EXIT_USER_ERROR = 2
EXIT_NO_READER = 128 + signal.SIGPIPE


@dataclass(frozen=True)
class Command:
    """Where a command lives.

    Attributes:
        module: imported when the command is typed.
        summary: its line in `--help`.
        name: prefix of its functions where one module holds several: `<name>_arguments(parser)`
            and `run_<name>(args)`; empty for `add_arguments` and `run`.
    """

    module: str
    summary: str
    name: str = ''

    def load(self, parser: argparse.ArgumentParser) -> None:
        """Import the module and declare the command's arguments on the parser."""
        module = importlib.import_module(self.module)
        arguments = f'{self.name}_arguments' if self.name else 'add_arguments'
        run = f'run_{self.name}' if self.name else 'run'
        getattr(module, arguments)(parser)
        parser.set_defaults(samg_run=getattr(module, run))


VERBS = {
    'run': 'Start a ROS graph in this process: simulator, perception, learning',
    'train': 'Train without ROS, with the same code underneath',
    'demo': 'See the whole way once, by the commands that one would type',
    'eval': 'Measure masks or policies: tables, plots, a report',
    'bench': 'Measure speed: tables',
    'demonstrations': 'Turn recorded bags and files into demonstrations to learn from',
    'study': 'Find out what matters: ablation, robustness, annotation; a report each',
    'reference': 'Make or look at the image and mask that say what matters',
}

COMMANDS: dict[tuple[str, ...], Command] = {
    ('run', 'sim_train'): Command('samg_ros.graphs.commands.run_sim_train',
                                  'train in simulation over ROS 2 topics, in one process'),
    ('run', 'arm'): Command('samg_ros.graphs.commands.run_arm',
                            'run a policy in front of an arm or its simulation, in one process'),
    ('run', 'sim_eval'): Command('samg_ros.graphs.commands.run_sim_eval',
                                 'try a policy in simulation over ROS 2 topics, in one process'),
    ('run', 'bag_eval'): Command('samg_ros.graphs.commands.run_bag_eval',
                                 'play a bag to perception and policy, in one process'),
    ('train', 'policy'): Command('samg_ros.rl.commands.train_policy',
                                 'train a policy on masked frames'),
    ('train', 'clone'): Command('samg_ros.cloning.command',
                                'train a policy to imitate demonstrations, or an expert'),
    ('train', 'expert'): Command('samg_ros.rl.commands.train_expert',
                                 "train an expert on the simulator's state, to be imitated"),
    ('train', 'mini'): Command('samg_ros.pretraining.train', 'train the embedded mask model'),
    ('demo', 'arm'): Command('samg_ros.graphs.commands.demo_arm',
                             'record, learn, run and measure on the simulated arm: a page'),
    ('eval', 'masks'): Command('samg_ros.rl.commands.eval_masks',
                               "compare masks with the simulator's segmentation"),
    ('eval', 'policy'): Command('samg_ros.rl.commands.eval_policy',
                                'try policies in visual settings: returns, masks, a page'),
    ('eval', 'bag'): Command('samg_ros.bags.command',
                             'mask a recorded bag: figures, a page, a video, a bag of masks'),
    ('eval', 'replay'): Command('samg_ros.bags.replay.command',
                                'compare recorded commands with those of the policy, bit by bit'),
    ('bench', 'sim'): Command('samg_ros.sim.bench',
                              "time the simulator beside dm_control's pixels wrapper"),
    ('bench', 'masking'): Command('samg_ros.masking.bench',
                                  'time the masker beside the bare networks'),
    ('bench', 'learning'): Command('samg_ros.rl.commands.bench',
                                   'time the agents: updates and actions'),
    ('bench', 'graph'): Command('samg_ros.graphs.commands.bench',
                                'time perception beside the bare masker'),
    ('demonstrations', 'import'): Command(
        'samg_ros.demonstrations.command',
        'recorded bags into a LeRobot data set; HDF5 (Minari, D4RL) for the replay', 'import'),
    ('demonstrations', 'export'): Command(
        'samg_ros.demonstrations.command', 'a LeRobot data set with masked frames', 'export'),
    ('study', 'ablation'): Command(
        'samg_ros.studies.ablation', 'raw, masked and truth-masked policies; features of masks'),
    ('study', 'robustness'): Command(
        'samg_ros.studies.robustness', 'masks and returns against changes of object and camera'),
    ('study', 'annotation'): Command(
        'samg_ros.studies.annotation', 'masks and returns by the number of clicked points'),
    ('reference', 'make'): Command('samg_ros.reference_maker.command',
                                   'make a reference in the browser, by clicks', 'make'),
    ('reference', 'render'): Command('samg_ros.sim.reference',
                                     'make a reference from the simulator', 'render'),
    ('reference', 'show'): Command('samg_ros.sim.reference', 'describe a reference', 'show'),
    ('mask',): Command('samg_ros.mask_command', 'mask images, folders of images, and videos'),
    ('report',): Command('samg_ros.rl.commands.report', 'runs side by side on one page'),
    ('export',): Command('samg_ros.rl.commands.export',
                         'masker and policy as ONNX or OpenVINO files, for other programs'),
    ('doctor',): Command('samg_ros.doctor', 'say what this machine has and lacks'),
}

EXAMPLES = """\
examples:
  samg doctor
  samg run sim_train --task walker_walk
  samg reference render --task cheetah_run --out my_reference
  samg mask camera.mp4 --reference my_reference --out masked

`samg VERB --help` and `samg VERB NOUN --help` say more. Errors are one line and exit with 2;
SAMG_TRACEBACK=1 shows where they come from.
"""


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line, which name what was meant."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f'{message}; see `{self.prog} --help`')


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the console script `samg`.

    Args:
        argv: arguments after the program's name; None takes the process's.

    Returns:
        Exit status: 0, what the command returned, 2 after an error of the user's, 130 after
        Ctrl-C, 141 if nobody reads the output any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        build_parser(()).print_help()
        return 0
    take_any_terminal()
    try:
        try:
            with interrupt_on_signals():
                return _dispatch(arguments)
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
    except SamgError as error:
        if os.environ.get('SAMG_TRACEBACK'):
            raise
        print(f'samg: error: {error}', file=sys.stderr)
        return EXIT_USER_ERROR
    except BrokenPipeError:
        # The reader left, as in `samg doctor | head`. Python would complain once more on exit. What
        # was not done yet is not done: the status is that of a program that SIGPIPE ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER
    except OSError as error:  # where no line of ours expects one: a disk that fills up
        if os.environ.get('SAMG_TRACEBACK'):
            raise
        where = '' if error.filename is None else f"'{plain(error.filename)}': "
        print(f'samg: error: {where}{error.strerror or error}', file=sys.stderr)
        return EXIT_USER_ERROR
    except MemoryError:
        if os.environ.get('SAMG_TRACEBACK'):
            raise
        print('samg: error: the memory does not suffice; ask for less at once', file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('samg: interrupted', file=sys.stderr)
        return INTERRUPTED


def build_parser(typed: tuple[str, ...]) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the typed one's arguments declared.

    Args:
        typed: the words that choose the command, such as ('eval', 'masks'); the modules of all
            other commands stay unimported.
    """
    parser = _Parser(
        prog='samg', usage='samg VERB [NOUN] [options]', formatter_class=_Formatter,
        description='Mask camera frames, train and run policies that see only what matters.',
        epilog=f'{_table(COMMANDS)}\n\n{EXAMPLES}')
    parser.add_argument('--version', action='version', version=f'samg_ros {__version__}')
    verbs = _subparsers(parser, 'VERB')
    nouns = {}
    for path, command in COMMANDS.items():
        verb, *noun = path
        if noun and verb not in nouns:
            listed = [path for path in COMMANDS if path[0] == verb]
            nouns[verb] = _subparsers(verbs.add_parser(
                verb, prog=f'samg {verb}', usage=f'samg {verb} NOUN [options]',
                formatter_class=_Formatter, description=f'{VERBS[verb]}.',
                epilog=_table(listed)), 'NOUN')
        leaf = (nouns[verb] if noun else verbs).add_parser(
            path[-1], prog=f'samg {" ".join(path)}', formatter_class=_Formatter,
            description=f'{command.summary[0].upper()}{command.summary[1:]}.')
        if path == typed:
            command.load(leaf)
            leaf.set_defaults(samg_defaults={each.dest: each.default for each in leaf._actions})
    return parser


def _subparsers(parser: argparse.ArgumentParser, metavar: str) -> Any:
    # The list of choices stands in the epilog, where argparse does not break it up.
    return parser.add_subparsers(required=True, metavar=metavar, help=argparse.SUPPRESS)


def _table(paths: Iterable[tuple[str, ...]]) -> str:
    width = max(len(' '.join(path)) for path in COMMANDS)
    lines = [f'  {" ".join(path):{width}}  {COMMANDS[path].summary}' for path in paths]
    return '\n'.join(['commands:', *lines])


def _dispatch(arguments: list[str]) -> int:
    for word in arguments:  # of Python callers; a shell has no such words
        try:
            good = b'\0' not in os.fsencode(word)
        except UnicodeEncodeError:
            good = False
        if not good:
            raise ConfigError(f'argument {word!r}: no file name has such characters; leave them '
                              'out')
    typed = next((path for path in COMMANDS if tuple(arguments[:len(path)]) == path), ())
    if not typed:
        _check_words(arguments)
    args = build_parser(typed).parse_args(arguments)
    check_outputs(args)
    _check_devices(args)
    status = args.samg_run(args)
    sys.stdout.flush()  # of a reader that left Python would complain on exit
    return 0 if status is None else int(status)


def _check_devices(args: argparse.Namespace) -> None:
    """Check the torch device or devices of a parsed command line, before the work begins.

    Raises:
        ConfigError: if there is no such device, or it cannot be used.
    """
    defaults = getattr(args, 'samg_defaults', {})
    for name in ('device', 'devices'):
        given = getattr(args, name, None)
        if given is not None and given != defaults.get(name):
            from samg_ros.device import usable_device  # imports torch, which takes a second

            for each in [given] if isinstance(given, str) else given:
                usable_device(each)


def _check_words(arguments: list[str]) -> None:
    """Raise for a mistyped verb or noun, with the nearest one that exists."""
    for depth, word in enumerate(arguments[:2]):
        if word.startswith('-'):
            return
        before = tuple(arguments[:depth])
        known = sorted({path[depth] for path in COMMANDS
                        if len(path) > depth and path[:depth] == before})
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'choose from {", ".join(known)}'
            raise SamgError(f'{" ".join((*before, word))!r} is not a command; {hint}')


if __name__ == '__main__':
    sys.exit(main())
