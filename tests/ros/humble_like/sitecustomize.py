# SPDX-License-Identifier: Apache-2.0
"""Makes Jazzy's rclpy look like Humble's to `samg_ros`: names that came later cannot be imported.

Python imports this file at its start when its folder is on PYTHONPATH, as `make test ROS=humble`
has it, so processes that tests start are changed alike. Checked against the branch `humble` of
ros2/rclpy: no `event_handler`, `clock_type` or `experimental`, callbacks of subscriptions get the
message alone, `create_timer` has no `autostart`. rclpy itself keeps what it needs.
"""

import builtins
import inspect
import sys
import warnings

LATER = ('rclpy.event_handler', 'rclpy.clock_type', 'rclpy.experimental')
_import = builtins.__import__


def _take_away():
    """Change the classes of rclpy that have more than Humble's, once they are loaded."""
    module = sys.modules.get('rclpy.subscription')
    if hasattr(getattr(module, 'Subscription', None), 'CallbackType'):
        kinds = module.Subscription.CallbackType
        del module.Subscription.CallbackType  # what reads it below gets MessageOnly
        module.Subscription.CallbackType = _MessageOnly(kinds)
        module.Subscription.callback = property(
            lambda self: self._callback,
            lambda self, value: self.__dict__.update(_callback=value,
                                                     _callback_type=kinds.MessageOnly))
    module = sys.modules.get('rclpy.node')
    create = getattr(getattr(module, 'Node', None), 'create_timer', None)
    if create is not None and 'autostart' in inspect.signature(create).parameters:
        module.Node.create_timer = (
            lambda self, timer_period_sec, callback, callback_group=None, clock=None:
            create(self, timer_period_sec, callback, callback_group, clock))


class _MessageOnly:
    """Stands for rclpy's enumeration: there is no callback with message info."""

    def __init__(self, kinds):
        self.MessageOnly, self.WithMessageInfo = kinds.MessageOnly, kinds.WithMessageInfo


def _import_as_on_humble(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get('__name__') or ''
    ours = importer.split('.')[0] != 'rclpy'
    if ours and level == 0 and name.startswith(LATER):
        raise ModuleNotFoundError(f'no module named {name!r} on Humble', name=name)
    with warnings.catch_warnings():
        if name == 'rclpy.qos_event':  # on Jazzy it is there, and deprecated
            warnings.simplefilter('ignore')
        module = _import(name, globals, locals, fromlist, level)
    if name.split('.')[0] == 'rclpy':
        _take_away()
    return module


builtins.__import__ = _import_as_on_humble
