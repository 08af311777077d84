# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Statistics of times in memory that does not grow."""

import math

import numpy as np

_LEAST, _MOST = 1e-5, 1e4  # seconds
_WIDTH = math.log(1.01)


class Latencies:
    """Quantiles of any number of times, to about half a percent.

    Attributes:
        count: Number of times.
    """

    def __init__(self) -> None:
        size = math.ceil(math.log(_MOST / _LEAST) / _WIDTH) + 1
        self._counts = np.zeros(size, np.int64)
        self.count = 0

    def add(self, seconds: float) -> None:
        """Add a time. Those below 10 microseconds count as this."""
        clipped = min(max(seconds, _LEAST), _MOST)
        self._counts[round(math.log(clipped / _LEAST) / _WIDTH)] += 1
        self.count += 1

    def quantile(self, part: float) -> float:
        """Return the smallest time that is not exceeded by a part of them.

        Args:
            part: Above 0 to 1.

        Returns:
            Seconds; NaN if there are no times.
        """
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(part * self.count))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return _LEAST * math.exp(index * _WIDTH)
