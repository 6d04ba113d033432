# SPDX-License-Identifier: Apache-2.0
"""`samg reference make`: make a reference in the browser. `samg report`: runs side by side."""
