# SPDX-License-Identifier: Apache-2.0
"""Nonsense on every subscription of every node: none may die of it, hang, or send what it must not.

    python benchmarks/graph_fuzz.py --messages 20000
    python benchmarks/graph_fuzz.py --messages 2000 --nodes policy trainer --seed 1

Each topic that a node subscribes gets so many messages, most of them good ones in which a few
fields are spoiled: numbers that are none or too large, other encodings, lists too short or too
long, stamps of another time. Every one must be counted by its topic as it came, and by its cause if
it was refused. After them the node must still do its work. A node that is meant to end, in one
line, when its messages contradict each other goes on from there, and these ends are counted.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import rclpy
from graph_more_subjects import SUBJECTS
from graph_rig import Rig, start_ros
from graph_subjects import SIDE, Subject

from samg_ros.errors import SamgError

SPOILED = 0.8
"""Share of the messages that are not left as they are."""
WORDS = ('', 'rgb8', 'bgr8', 'mono8', 'mono16', 'rgba8', 'bayer_rggb8', 'yuv422', '32FC1', '8UC9',
         'jpeg', 'rgb8; jpeg compressed bgr8', 'action', 'frame_index', 'reward', 'shoulder',
         'x' * 300, '\u00fc')
FLOATS = (0.0, -1.0, 0.5, 1e-30, 1e30, float('nan'), float('inf'), float('-inf'))
_IGNORED = ('/parameter_events', '/clock', '/heartbeat')
_LOST_S = 2.0


class Fuzzer:
    """Spoils messages."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def spoil(self, message: Any) -> Any:
        """Change one to three fields, anywhere in it."""
        for _ in range(self.random.randint(1, 3)):
            owner, name, kind = self.random.choice(list(_fields(message)))
            setattr(owner, name, self._value(kind, getattr(owner, name)))
        return message

    def _value(self, kind: str, value: Any) -> Any:
        if kind.startswith('sequence<'):
            return self._sequence(kind[len('sequence<'):-1], value)
        if kind.endswith(']'):  # as many as before
            values = list(value)
            index = self.random.randrange(len(values))
            values[index] = self._value(kind.partition('[')[0], values[index])
            return values
        if kind == 'string':
            return self.random.choice(WORDS)
        if kind in ('double', 'float'):
            return self.random.choice(FLOATS)
        if kind == 'boolean':
            return not value
        if kind in ('octet', 'uint8', 'int8'):
            return self.random.randrange(128)
        bits = int(kind.lstrip('uint'))
        low = 0 if kind.startswith('u') else -2**(bits - 1)
        high = low + 2**bits - 1
        return self.random.choice((low, high, 0, 1, 15, 16, 17, SIDE, 3 * SIDE,
                                   self.random.randint(0, high)))

    def _sequence(self, kind: str, value: Any) -> Any:
        length = self.random.choice((0, 1, max(0, len(value) - 1), len(value) + 1,
                                     self.random.randrange(100)))
        if kind == 'uint8':
            return (bytes(value) + self.random.randbytes(100))[:length]
        values = list(value)[:length]
        if '/' not in kind:
            values += [self._value(kind, None if kind != 'boolean' else True)
                       for _ in range(min(length - len(values), 100))]
        return values


def _fields(message: Any) -> Any:
    """Every field of a message and of those in it: its owner, name and type."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, 'get_fields_and_field_types'):
            yield from _fields(value)
            continue
        yield message, name, kind
        if '/' in kind:
            for each in value:
                yield from _fields(each)


def fuzz(rig: Rig, subject: Subject, messages: int, seed: int = 0) -> dict[str, Any]:
    """Send so many messages on every topic of a node.

    Returns:
        Figures of the node, and by topic what was sent and what the node counted.

    Raises:
        TimeoutError: if the node does nothing any more.
        Exception: what the node died of.
    """
    node, topics, fuzzer = subject.node, subject.topics, Fuzzer(seed)
    subscribed = {each.topic_name for each in node.subscriptions
                  if not each.topic_name.endswith(_IGNORED)}
    if subscribed != set(topics):
        raise ValueError(f'{subject.name} subscribes {sorted(subscribed)}, known are '
                         f'{sorted(topics)}')
    publishers = {topic: rig.publisher(kind, topic) for topic, (kind, _) in topics.items()}
    arrived = subject.arrived or (lambda topic: node.diagnostics.received[topic])
    before = {topic: arrived(topic) for topic in topics}
    sent, moment, ended = dict.fromkeys(topics, 0), 0, 0

    def send(topic: str, message: Any) -> None:
        """Send a message and wait until it has come, so that none overtakes another."""
        nonlocal ended
        already, lost = arrived(topic), time.monotonic() + _LOST_S
        publishers[topic].publish(message)
        sent[topic] += 1
        try:
            rig.until(lambda: arrived(topic) > already or time.monotonic() > lost)
        except SamgError as error:
            if subject.revive is None or error is not node.error:
                raise
            node.error, ended = None, ended + 1
            subject.revive()

    def send_good() -> None:
        nonlocal moment
        moment += 1
        for topic, (_, make) in topics.items():
            send(topic, make(moment))

    began = time.monotonic()
    subject.works(send_good)
    for index in range(messages):
        moment += 1
        for topic, (_, make) in topics.items():
            message = make(moment)
            if fuzzer.random.random() < SPOILED:
                message = fuzzer.spoil(copy.deepcopy(message))  # a layout may be shared
            send(topic, message)
        if index % 20 == 0:
            subject.prepare(send_good)
    subject.prepare(send_good)
    subject.works(send_good)
    counted = {topic: arrived(topic) - before[topic] for topic in topics}
    if subject.arrived is None and topics:
        connections = rig.diagnosed(f'{node.get_name()}: connections')
        counted = {topic: int(connections[topic]) - before[topic] for topic in topics}
    subject.finish()
    refused: dict[str, int] = {}
    for status in subject.drops:
        values = rig.diagnosed(status)
        refused |= {cause: int(value) for cause, value in values.items()
                    if cause not in ('in', 'out', 'dropped', 'last') and value.isdigit()}
    return {'node': subject.name, 'sent': sent, 'counted': counted, 'refused': refused,
            'drops': subject.drops, 'ended': ended, 'seconds': time.monotonic() - began}


def main() -> int:
    """Print the table; return 1 if a node died, hung, or did not do its work any more."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=20_000, metavar='N',
                        help='on each topic (%(default)s)')
    parser.add_argument('--nodes', nargs='+', choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the figures there too')
    args = parser.parse_args()
    rows, faults = [], 0
    for name in args.nodes:
        for make in SUBJECTS[name]:
            start_ros()
            rclpy.logging.set_logger_level('', rclpy.logging.LoggingSeverity.FATAL)
            rig = Rig()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    row = fuzz(rig, make(rig, Path(folder)), args.messages, args.seed)
                    rows.append(row)
                    _print(row)
                except Exception:  # noqa: BLE001  # whatever it is, the other nodes have their turn
                    faults += 1
                    print(f'{name}: FAULT', flush=True)
                    traceback.print_exc()
                rig.close()
            rclpy.try_shutdown()
    sent = sum(sum(row['sent'].values()) for row in rows)
    refused = sum(sum(row['refused'].values()) for row in rows)
    print(f'{len(rows)} nodes alive, {faults} faults; {sent} messages, {refused} refused, '
          f'{sum(row["ended"] for row in rows)} ended a node as they should')
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + '\n')
    return int(bool(faults))


def _print(row: dict[str, Any]) -> None:
    print(f'{row["node"]}: alive after {row["seconds"]:.0f} s', flush=True)
    for topic, count in row['sent'].items():
        print(f'    {topic:28} sent {count:6}, counted {row["counted"][topic]:6}')
    total, refused = sum(row['sent'].values()), sum(row['refused'].values())
    causes = ', '.join(f'{cause} {count}' for cause, count in sorted(row['refused'].items()))
    if row['ended']:
        print(f'    {row["ended"]} ended the node as they should', flush=True)
    print(f'    {total} = {total - refused} taken + {refused} refused ({causes or "none"})',
          flush=True)


if __name__ == '__main__':
    sys.exit(main())
