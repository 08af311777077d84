# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The installed browser, for tests of pages."""

import shutil

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))),
    None,
)
# Chromium does not run as root with a sandbox.
OPTIONS = dict(
    executable_path=CHROMIUM, args=['--no-sandbox', '--disable-dev-shm-usage']
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason='needs Chromium: apt-get install chromium'
)
