# SPDX-License-Identifier: Apache-2.0
"""One fitted masker for the tests that only ask it."""

import pytest

from samg_ros.masking import Masker, Reference


@pytest.fixture(scope='session')
def walker(shared_data):
    points = [(40, 24), (23, 68), (68, 57)]  # the published clicks
    return Reference.load(shared_data / 'samg_references' / 'walker_0.png').with_points(points)


@pytest.fixture(scope='session')
def masker(walker):
    return Masker.load('mini').fit(walker)
