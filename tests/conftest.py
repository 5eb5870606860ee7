"""What every test may use."""

from __future__ import annotations

import os

from hypothesis import settings

# Shared machines stall; a slow example is no failure, and CI should fail on the same examples again.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
