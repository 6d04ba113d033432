# SPDX-License-Identifier: Apache-2.0
"""`samg train clone`: a policy that imitates an expert, and how well it does."""

import argparse

from samg_ros.arguments import names, parse_settings, path_argument, whole
from samg_ros.errors import ConfigError
from samg_ros.rl.commands.sweep import run_many
from samg_ros.rl.commands.train_policy import add_run_arguments, finish, start_run, train
from samg_ros.rl.presets import clone_config, finetune_config
from samg_ros.rl.training.rollout import MASKS

STEPS = 30_000
"""Of a clone of an expert."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train clone`."""
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help='task with an expert (arm_reach); several tasks, sources or seeds are '
                        'many runs')
    parser.add_argument('--masks', default=MASKS[0], choices=MASKS,
                        help='what masks the frames learned from: the truth with random errors, '
                        'quick and for any masker, the masker itself, or the masker for the last '
                        'third (%(default)s)')
    parser.add_argument('--expert', type=path_argument, default=None, metavar='FILE.npz',
                        help="expert to learn from (the task's own: scripted, or trained)")
    parser.add_argument('--steps', type=whole(1), default=None,
                        help=f'agent steps, each with a frame and an update ({STEPS}; from '
                        'demonstrations 6000)')
    parser.add_argument('--finetune', type=whole(0), default=0, metavar='STEPS',
                        help='afterwards STEPS agent steps of DrQ-v2, from reward and behind '
                        'the masker, in RUN_DIR/finetuned (%(default)s)')
    add_run_arguments(parser, 'runs/TASK-clone-SEED')


def run(args: argparse.Namespace) -> int:
    """Clone, evaluate and write the report; its path is the last line printed.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved; of many runs, see `run_many`.
    """
    overrides = {'steps': STEPS, **parse_settings(args.set, ('task', 'seed'), steps=args.steps)}
    tasks, sources = args.task or ['arm_reach'], args.source or ['masked']
    seeds = args.seed or [0]
    if max(map(len, (tasks, sources, seeds))) > 1:
        if args.finetune:
            raise ConfigError('--finetune goes on with one run; name one task, source and seed')
        return run_many(args, tasks=tasks, settings=['train'], sources=sources, seeds=seeds,
                        overrides=overrides, method='clone', masks=args.masks,
                        expert=args.expert and args.expert.absolute())
    overrides['observation'] = {'source': sources[0], **overrides.get('observation', {})}
    config = clone_config(tasks[0], seed=seeds[0], **overrides)
    run_dir, masker = start_run(args, config, masked=True)
    done = train(args, config, run_dir, masker, masks=args.masks, expert=args.expert)
    if done and args.finetune:
        start, run_dir = run_dir, run_dir / 'finetuned'
        config = finetune_config(config, start, steps=args.finetune)
        done = train(args, config, run_dir, masker)
    return finish(args, run_dir, done, {})
