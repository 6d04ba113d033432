# SPDX-License-Identifier: Apache-2.0
"""Files that come in and go out: writing them safely, checking what they hold, showing text."""
