"""Hypothesis as for the model: no deadline on a shared machine."""

import tests.model.conftest  # noqa: F401 (loads the profile)
