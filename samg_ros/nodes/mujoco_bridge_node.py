# SPDX-License-Identifier: Apache-2.0
"""`mujoco_bridge`: a simulated robot and its camera as ROS topics.

In lockstep it steps once for every command and waits for the next one, however long that takes:
what is learned over ROS is then bit for bit what is learned without. In real time it runs on the
wall clock as a camera and a robot do, whether or not anybody keeps up.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool, Trigger

from samg_ros.bridge.camera_topics import CameraTopics
from samg_ros.bridge.lockstep import FrameCounter
from samg_ros.bridge.parameters import CameraName, declare_advice, declare_simulation
from samg_ros.bridge.scripted_operator import ScriptedOperator
from samg_ros.errors import SamgError
from samg_ros.ros import qos
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import OK, WARN, Diagnostics, Drops, Rate, Report
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.publishers import UniqueName
from samg_ros.sim.intrinsics import camera_matrix
from samg_ros.sim.sim_step import SimStep

MODES = ('lockstep', 'realtime')
_FIRST_REPEAT_S = 0.2
_LONGEST_REPEAT_S = 30.0
_CHECK_S = 0.05


class MujocoBridge(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Build the simulation and publish its first frame.

        Raises:
            SamgError: if a parameter is not usable: task, setting, videos, size.
        """
        super().__init__('mujoco_bridge', **options)
        self.lockstep = declare(
            self, 'mode', 'lockstep',
            'lockstep: one step per command. realtime: steps on the wall clock.',
            choices=MODES) == 'lockstep'
        self._timeout_s = declare(
            self, 'lockstep_timeout_s', 1.0, 'Seconds without a command after which the frame is '
            'published again; doubles each time.', between=(0.05, 600.0))
        rate_hz = declare(self, 'rate_hz', 0.0, 'Steps per second in realtime mode; 0 takes the '
                          "task's own.", between=(0.0, 1000.0))
        self._env, names = declare_simulation(self)
        low, high = self._env.action_spec
        self._limits = low, high
        for name, limits in (('action_low', low), ('action_high', high)):
            self.declare_parameter(name, limits.tolist(), _limits_descriptor(name),
                                   ignore_override=True)
        self.diagnostics = Diagnostics(self, self._env.spec.name)
        self.drops = Drops(self, 'commands')
        self.diagnostics.add('commands', self.drops.report)
        self.diagnostics.add('simulation', self._report)
        if self._env.setting.has_video:
            self.diagnostics.add('videos', self._report_videos)
        self._rate = Rate()
        self._make_topics(names)
        UniqueName(self, self._on_name_conflict)

        self._paused = False
        self._held: command.Command | None = None
        self._frames = FrameCounter()
        self._repeats = 0
        self._answered = not self.lockstep
        self._silent = False
        self._diverged = self._missed = 0
        self._truth_every = declare(
            self, 'truth_every', 1, 'Publish the true mask of every so many frames of an episode.',
            between=(1, 10**6))
        self._advice = declare_advice(self, self._env)
        passed_over = declare(
            self, 'skip_episodes', 0, "The seed's episodes to pass over before the first, for a "
            'training that goes on.', between=(0, 10**9))
        self._env.skip_episodes(passed_over)
        if self._advice is not None:
            self._advice.episodes = passed_over
        self._publish_new(self._env.reset())
        self._period_s = 1.0 / rate_hz if rate_hz else self._env.control_period_ns * 1e-9
        self._ticked_at = time.monotonic()
        if self.lockstep:
            steady_timer(self, _CHECK_S, self._repeat_if_silent)
        else:
            steady_timer(self, self._period_s, self._tick)

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()

    @property
    def frame_index(self) -> int:
        """Number of the frame that is shown."""
        return self._frames.index

    def _make_topics(self, names: list[CameraName]) -> None:
        def publisher(message_type: Any, topic: str) -> Any:
            return qos.publisher(self, self.diagnostics, message_type, topic, qos.reliable())

        quality = declare(self, 'jpeg_quality', 90, 'Of the compressed images.', between=(1, 100))
        env = self._env
        self._cameras = [
            CameraTopics(self, self.diagnostics, name.topic, name.frame_id,
                         camera_matrix(env.model, camera_id, env.height, env.width), env.height,
                         env.width, quality)
            for name, camera_id in zip(names, env.camera_ids, strict=True)]
        self._joints = publisher(JointState, 'joint_states')
        self._time_step = publisher(Float64MultiArray, 'time_step')
        self._clock_topic = publisher(Clock, '/clock') if self.lockstep else None
        self._operator = ScriptedOperator(self, env, publisher)
        qos.subscription(self, self.diagnostics, Float64MultiArray,
                         env.spec.command_topic, self._on_command, qos.reliable())
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/set_paused', self._on_set_paused)

    def _on_name_conflict(self, error: SamgError) -> None:
        self.error = error

    # Commands

    def _on_command(self, message: Float64MultiArray) -> None:
        try:
            received = command.from_message(message, self._limits[0].size)
            if self.lockstep:
                if self._frames.is_echo(received.frame_index):
                    return
                self._frames.check(received.frame_index, self._held is not None)
        except command.BadCommandError as error:
            self.drops.add(error.fault.value, str(error))
            return
        self._note_if_out_of_range(received.action)
        if not self.lockstep:
            self._latest = received.action
        elif self._paused:
            self._held = received
        else:
            self._advance(received.action)

    def _note_if_out_of_range(self, action: np.ndarray) -> None:
        """Report what the environment will clip."""
        low, high = self._limits
        outside = np.flatnonzero((action < low) | (action > high))
        if outside.size:
            first = outside[0]
            self.drops.count_repaired(
                'out_of_range', f'value {first} of a command was {action[first]:g}; '
                f'clipped to {low[first]:g} to {high[first]:g}')

    def _advance(self, action: np.ndarray) -> None:
        """Step, or begin the next episode after the last step, as dm_env does."""
        self._answered = True
        index = 0 if self._step.last else self._step.step_index + 1
        self._env.truth = index % self._truth_every == 0 and any(
            camera.truth_is_wanted for camera in self._cameras)
        try:
            step = self._env.reset() if self._step.last else self._env.step(action)
        except SamgError as error:
            self._diverged += 1
            self.get_logger().error(f'{error}; a new episode begins')
            step = self._env.reset()
        self._publish_new(step)

    def _tick(self) -> None:
        now = time.monotonic()
        self._missed += max(0, round((now - self._ticked_at) / self._period_s) - 1)
        self._ticked_at = now
        if not self._paused:
            self._advance(self._latest)

    # Publishing

    def _publish_new(self, step: SimStep, after_reset: bool = False) -> None:
        self._expert: tuple[float, ...] = ()
        if self._advice is not None:
            step, action = self._advice.on(step)
            self._expert = tuple(action.tolist())
        self._step = step
        if step.first:
            self._latest = self._env.resting_action  # no command has come yet
        self._frames.next(after_reset)
        if self.lockstep:
            sec, nanosec = divmod(step.time_ns, 10**9)
            stamp = Time(sec=sec, nanosec=nanosec)
        else:
            stamp = self.get_clock().now().to_msg()
        self._stamp = stamp
        self._repeat_s = self._timeout_s if self._answered else _FIRST_REPEAT_S
        self._silent = False
        self._rate.tick()
        self._publish()

    def _publish(self) -> None:
        """Publish the present frame, the image last so that the rest is there when it comes."""
        step, stamp = self._step, self._stamp
        self._frames.show()
        self._shown_at = time.monotonic()
        if self._clock_topic is not None and qos.has_subscribers(self._clock_topic):
            self._clock_topic.publish(Clock(clock=stamp))
        self._time_step.publish(time_step.to_message(time_step.StepInfo(
            stamp_sec=stamp.sec, stamp_nanosec=stamp.nanosec, time_ns=step.time_ns,
            reward=step.reward, discount=step.discount, step_type=step.step_type,
            step_index=step.step_index, frame_index=self.frame_index,
            success=int(bool(step.success)), expert=self._expert)))
        if qos.has_subscribers(self._joints):
            self._joints.publish(JointState(
                header=Header(stamp=stamp), name=list(step.joint_names),
                position=step.joint_positions.tolist(), velocity=step.joint_velocities.tolist()))
        self._operator.publish(step, stamp)
        for topics, view in reversed([*zip(self._cameras, step.views, strict=True)]):
            topics.publish(stamp, view.frame, view.mask)

    def _repeat_if_silent(self) -> None:
        """Publish the frame again: whoever answers may have started late or been restarted."""
        if self._paused or time.monotonic() - self._shown_at < self._repeat_s:
            return
        if self._answered:
            self._silent = True
            self._repeats += 1
            self._repeat_s = min(2 * self._repeat_s, _LONGEST_REPEAT_S)
        self._publish()

    # Services and diagnostics

    def _on_reset(self, request: Any, response: Any) -> Any:
        if self._held is not None:
            self._held = None
            self.drops.add(command.Fault.RESET.value, 'the episode was reset before the command '
                           f'for frame {self.frame_index} was carried out')
        self._publish_new(self._env.reset(), after_reset=True)
        response.success = True
        response.message = f'a new episode began with frame {self.frame_index}'
        return response

    def _on_set_paused(self, request: Any, response: Any) -> Any:
        self._paused = request.data
        held, self._held = self._held, None
        if held is not None and not self._paused:
            self._advance(held.action)
        elif held is not None:
            self._held = held
        response.success = True
        response.message = 'paused' if self._paused else 'running'
        return response

    def _report(self) -> Report:
        values = {'mode': 'lockstep' if self.lockstep else 'realtime', 'frames': self._rate.count,
                  'rate_hz': self._rate.hz, 'interval_p95_ms': self._rate.interval_ms(95),
                  'repeats': self._repeats, 'echoes': self._frames.echoes,
                  'diverged': self._diverged, 'listeners': self._cameras[0].listeners,
                  'paused': self._paused}
        if not self.lockstep:
            values |= {'jitter_p95_ms': self._rate.jitter_ms(95, self._period_s),
                       'missed': self._missed}
        if self._paused:
            return Report(OK, 'paused', values)
        if not self._answered:
            return Report(OK, 'waiting for the first command', values)
        if self.lockstep and not values['listeners']:
            return Report(WARN, f"'camera/image_raw' has no subscriber; frame {self.frame_index} "
                          'waits for a command', values)
        if self._silent:
            return Report(WARN, f'frame {self.frame_index} waits for a command', values)
        return Report(OK, 'running', values)

    def _report_videos(self) -> Report:
        faults = self._env.video_faults
        if not faults:
            return Report(OK, 'no video at fault')
        return Report(WARN, f'{len(faults)} at fault: {", ".join(faults)}', faults)


def _limits_descriptor(name: str) -> Any:
    from rcl_interfaces.msg import ParameterDescriptor
    return ParameterDescriptor(
        name=name, read_only=True,
        description=f'{"Least" if name == "action_low" else "Greatest"} value of each action.')
