# SPDX-License-Identifier: Apache-2.0
"""The arm's time: the wall clock, or /clock and how fast it runs."""

import pytest

from samg_ros.policy.robot_clock import RobotClock


class World:
    """A wall clock and a simulation's, seen every 20 ms."""

    def __init__(self, tick_s=0.05, simulated=True):
        self.wall_s, self.exact_s, self.seen_s, self.tick_s = 50.0, 100.0, 0.0, tick_s
        self.clock = RobotClock(lambda: simulated, lambda: self.seen_s, lambda: self.wall_s)

    def run(self, seconds, speed=1.0):
        for _ in range(round(seconds / 0.02)):
            self.wall_s += 0.02
            self.exact_s += 0.02 * speed
            if abs(self.exact_s - self.seen_s) >= self.tick_s:
                self.seen_s = self.exact_s
            self.clock.measure()


@pytest.mark.parametrize('speed', [0.1, 0.5, 1.0, 1.2])
@pytest.mark.parametrize('tick_s', [0.01, 0.05, 0.12])
def test_the_speed_is_measured_and_up_to_the_limit_it_is_allowed(speed, tick_s):
    world = World(tick_s * speed)
    world.run(4.0, speed)
    assert world.clock.speed == pytest.approx(speed, rel=0.13)
    if speed <= 1.0:
        assert world.clock.too_fast is None and world.clock.reason_not_to_enable is None


@pytest.mark.parametrize('speed', [1.5, 2.0, 10.0])
def test_a_simulation_that_is_too_fast_is_noticed_within_seconds(speed):
    world = World()
    world.run(4.0)
    world.run(2.5, speed)
    assert 'simulated time runs at' in world.clock.too_fast
    assert world.clock.reason_not_to_enable == world.clock.too_fast


def test_a_clock_that_is_set_is_measured_anew_and_is_no_motion():
    world = World()
    world.run(4.0)
    for step in (-100.0, 100.0):
        world.exact_s += step
        world.run(0.5)
        assert world.clock.too_fast is None and world.clock.speed is None
        assert 'not known yet' in world.clock.reason_not_to_enable
        world.run(1.0)
        assert world.clock.reason_not_to_enable is None


def test_executors_that_stall_do_not_make_time_look_fast():
    world = World()
    world.run(4.0)
    for _ in range(50):  # /clock is not heard
        world.wall_s, world.exact_s = world.wall_s + 0.02, world.exact_s + 0.02
        world.clock.measure()
    world.run(2.0)
    assert world.clock.too_fast is None


def test_a_clock_that_never_comes_is_named_and_the_wall_clock_is_always_good():
    world = World()
    world.clock.measure()
    assert 'nothing comes on /clock' in world.clock.reason_not_to_enable
    world = World(simulated=False)
    world.clock.measure()
    assert world.clock.reason_not_to_enable is None
    assert world.clock.now_s() == 50.0
