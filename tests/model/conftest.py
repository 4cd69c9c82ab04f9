"""Hypothesis for a shared machine: no deadline, and nothing is written into the checkout."""

from hypothesis import settings

settings.register_profile("dstack-vpn", deadline=None, database=None, max_examples=50, print_blob=True)
settings.load_profile("dstack-vpn")
