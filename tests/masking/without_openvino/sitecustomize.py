# SPDX-License-Identifier: Apache-2.0
"""A Python that finds this folder first has no OpenVINO: `make test ENGINE=torch`."""

import sys

sys.modules['openvino'] = None
