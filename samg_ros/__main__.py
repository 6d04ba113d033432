# SPDX-License-Identifier: Apache-2.0
"""`python -m samg_ros` is `samg`, for a machine on which scripts are not on the PATH."""

import sys

from samg_ros.cli import main

sys.exit(main())
