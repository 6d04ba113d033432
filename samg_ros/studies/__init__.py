# SPDX-License-Identifier: Apache-2.0
"""`samg study`: what each part of the method is worth, and what it withstands; one page each."""
