# SPDX-License-Identifier: Apache-2.0
"""`mujoco_bridge`: a simulated robot and its camera as ROS topics.

In lockstep it steps once for every command and waits for the next one, however long that takes:
what is learned over ROS is then bit for bit what is learned without. In real time it runs on the
wall clock as a camera and a robot do, whether or not anybody keeps up.
"""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any, NoReturn

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock as RclClock
from rclpy.clock_type import ClockType
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import SetBool, Trigger

from samg_ros.errors import SamgError
from samg_ros.nodes import command, qos, time_step
from samg_ros.nodes.base import PlainNode, run_node
from samg_ros.nodes.camera_topics import CameraTopics
from samg_ros.nodes.diagnostics import OK, WARN, Diagnostics, Drops, Rate, Report
from samg_ros.nodes.parameters import declare
from samg_ros.nodes.signals import leave
from samg_ros.sim.env import COMPOSITES, SimEnv, SimStep
from samg_ros.sim.intrinsics import camera_matrix
from samg_ros.sim.nuisances import Nuisances
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.tasks import COMMAND_TOPICS

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
        self._frame_id = declare(self, 'frame_id', 'camera_optical',
                                 'Frame of the camera, x right, y down, z forward.')
        self._env = self._make_env()
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
        self._make_topics()

        self._paused = False
        self._held: command.Command | None = None
        self._shown = self._echoes_due = self._echoes = 0
        self.frame_index = -1
        self._repeats = 0
        self._answered = not self.lockstep
        self._silent = False
        self._diverged = self._missed = self._reset_at = 0
        self._publish_new(self._env.reset())
        self._period_s = 1.0 / rate_hz if rate_hz else self._env.control_period_ns * 1e-9
        self._ticked_at = time.monotonic()
        steady = RclClock(clock_type=ClockType.STEADY_TIME)
        if self.lockstep:
            self.create_timer(_CHECK_S, self._repeat_if_silent, clock=steady)
        else:
            self.create_timer(self._period_s, self._tick, clock=steady)

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()

    def _make_env(self) -> SimEnv:
        repeat = declare(self, 'action_repeat', 0, "Control steps per command; 0 takes the task's.",
                         between=(0, 100))
        videos = declare(self, 'videos', '', 'Folder of background videos for the video settings; '
                         'empty for procedural ones.')
        camera = declare(self, 'camera', '', "Camera of the model, by name or index; empty for the "
                         "task's.")
        more = declare(self, 'more_cameras', [''], 'Further cameras of the model, by name or '
                       'index; each publishes under its own name what the main one does under '
                       'camera/.')
        self._camera_names = [name for name in more if name]
        return SimEnv(
            task=declare(self, 'task', 'walker_walk', 'Task to simulate.'),
            setting=declare(self, 'setting', 'train', 'Visual setting.'),
            seed=declare(self, 'seed', 0, 'Seed of everything random.', between=(0, 2**31 - 1)),
            height=declare(self, 'height', 84, 'Pixels.', between=(8, 4096)),
            width=declare(self, 'width', 84, 'Pixels.', between=(8, 4096)),
            quality=declare(self, 'quality', 'fast', 'Render quality; paper is pixel-identical to '
                            "dm_control's.", choices=QUALITIES),
            composite=declare(self, 'composite', 'segmentation', 'How a video is put behind the '
                              "robot; chroma_key is DMC-GB's green screen.", choices=COMPOSITES),
            control=declare(self, 'control', 'action', "What a command is: action, the task's own, "
                            'or position, joint positions on forward_position_controller/commands.',
                            choices=tuple(COMMAND_TOPICS)),
            videos=videos or None, action_repeat=repeat or None,
            camera_id=_camera_id(camera) if camera else None,
            more_cameras=[_camera_id(name) for name in self._camera_names],
            nuisances={field.name: declare(
                self, f'nuisances.{field.name}', 0.0, f'Strength of the nuisance {field.name}, see '
                'docs/simulation.md.', between=(0.0, 1.0)) for field in fields(Nuisances)})

    def _make_camera(self, index: int, name: str, frame_id: str, jpeg_quality: int,
                     ) -> CameraTopics:
        env = self._env
        matrix = camera_matrix(env.model, env.camera_ids[index], env.height, env.width)
        return CameraTopics(self, self.diagnostics, name, frame_id, matrix, env.height, env.width,
                            jpeg_quality)

    def _make_topics(self) -> None:
        def publisher(message_type: Any, topic: str) -> Any:
            return qos.publisher(self, self.diagnostics, message_type, topic, qos.reliable())

        quality = declare(self, 'jpeg_quality', 90, 'Of the compressed images.', between=(1, 100))
        # A camera that is called by its index needs a name that may stand in a topic.
        names = [('camera', self._frame_id), *(
            (name, f'{name}_optical') for name in (
                f'camera_{name}' if name.isdigit() else name for name in self._camera_names))]
        self._cameras = [self._make_camera(index, *name, quality)
                         for index, name in enumerate(names)]
        self._joints = publisher(JointState, 'joint_states')
        self._time_step = publisher(Float64MultiArray, 'time_step')
        self._clock_topic = publisher(Clock, '/clock') if self.lockstep else None
        qos.subscription(self, self.diagnostics, Float64MultiArray,
                         self._env.spec.command_topic, self._on_command, qos.reliable())
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/set_paused', self._on_set_paused)

    # Commands

    def _on_command(self, message: Float64MultiArray) -> None:
        try:
            received = command.from_message(message, self._limits[0].size)
            if self.lockstep:
                if self._is_echo(received.frame_index):
                    return
                self._check_frame(received.frame_index)
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
            self.drops.mend('out_of_range', f'value {first} of a command was {action[first]:g}; '
                            f'clipped to {low[first]:g} to {high[first]:g}')

    def _is_echo(self, answered: int | None) -> bool:
        """Whether a command only answers a repetition of a frame that was answered already."""
        if answered != self.frame_index - 1 or self._echoes_due == 0:
            return False
        self._echoes_due -= 1
        self._echoes += 1
        return True

    def _check_frame(self, answered: int | None) -> None:
        """Let pass only the first command for the present frame."""
        if answered in (None, self.frame_index) and self._held is None:
            return
        if answered in (None, self.frame_index) or self._reset_at <= answered == \
                self.frame_index - 1:
            fault = command.Fault.DUPLICATE
        elif answered < self.frame_index:
            fault = command.Fault.LATE
        else:
            fault = command.Fault.UNKNOWN_FRAME
        raise command.BadCommandError(
            fault, f'a command for frame {answered} came while frame {self.frame_index} is shown; '
            'answer each frame once')

    def _advance(self, action: np.ndarray) -> None:
        """Step, or begin the next episode after the last step, as dm_env does."""
        self._answered = True
        self._env.truth = any(camera.truth_is_wanted for camera in self._cameras)
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

    def _publish_new(self, step: SimStep) -> None:
        self._step = step
        if step.first:
            self._latest = self._env.resting_action  # nobody has asked for anything yet
        self.frame_index += 1
        if self.lockstep:
            sec, nanosec = divmod(step.time_ns, 10**9)
            stamp = Time(sec=sec, nanosec=nanosec)
        else:
            stamp = self.get_clock().now().to_msg()
        self._stamp = stamp
        self._repeat_s = self._timeout_s if self._answered else _FIRST_REPEAT_S
        self._silent = False
        self._echoes_due, self._shown = max(0, self._shown - 1), 0
        self._rate.tick()
        self._publish()

    def _publish(self) -> None:
        """Publish the present frame, the image last so that the rest is there when it comes."""
        step, stamp = self._step, self._stamp
        self._shown += 1
        self._shown_at = time.monotonic()
        if self._clock_topic is not None and qos.is_wanted(self._clock_topic):
            self._clock_topic.publish(Clock(clock=stamp))
        self._time_step.publish(time_step.to_message(time_step.StepInfo(
            stamp_sec=stamp.sec, stamp_nanosec=stamp.nanosec, time_ns=step.time_ns,
            reward=step.reward, discount=step.discount, step_type=step.step_type,
            step_index=step.step_index, frame_index=self.frame_index)))
        if qos.is_wanted(self._joints):
            self._joints.publish(JointState(
                header=Header(stamp=stamp), name=list(step.joint_names),
                position=step.joint_positions.tolist(), velocity=step.joint_velocities.tolist()))
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
        self._publish_new(self._env.reset())
        self._reset_at = self.frame_index
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
                  'repeats': self._repeats, 'echoes': self._echoes, 'diverged': self._diverged,
                  'listeners': self._cameras[0].listeners, 'paused': self._paused}
        if not self.lockstep:
            values |= {'jitter_p95_ms': self._rate.jitter_ms(95, self._period_s),
                       'missed': self._missed}
        if self._paused:
            return Report(OK, 'paused', values)
        if not self._answered:
            return Report(OK, 'waiting for the first command', values)
        if self.lockstep and not values['listeners']:
            return Report(WARN, f"nobody listens to 'camera/image_raw'; frame {self.frame_index} "
                          'waits for a command', values)
        if self._silent:
            return Report(WARN, f'frame {self.frame_index} waits for a command', values)
        return Report(OK, 'running', values)

    def _report_videos(self) -> Report:
        faults = self._env.video_faults
        if not faults:
            return Report(OK, 'no video at fault')
        return Report(WARN, f'{len(faults)} at fault: {", ".join(faults)}', faults)


def _camera_id(name: str) -> int | str:
    return int(name) if name.isdigit() else name


def _limits_descriptor(name: str) -> Any:
    from rcl_interfaces.msg import ParameterDescriptor
    return ParameterDescriptor(
        name=name, read_only=True,
        description=f'{"Least" if name == "action_low" else "Greatest"} value of each action.')


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the executable `mujoco_bridge`."""
    leave(run_node(MujocoBridge, argv))
