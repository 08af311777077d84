# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""List of everything that happened to runs, to which lines are only added."""

import json
import os
from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .recipes import Run

STARTED, RESUMED = 'started', 'resumed'
FINISHED, FAILED, INTERRUPTED = 'finished', 'failed', 'interrupted'


class RunLog:
    """File with a line of JSON for each start and end of a run.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, run: Run, event: str, **values: Any) -> None:
        """Add a line.

        Args:
            run: The run.
            event: What happened. A start from scratch is ``STARTED``, any other one
                ``RESUMED``. A start without an end was killed.
            **values: More values of the line.
        """
        line = {
            'run': run.name,
            'config': run.recipe.config,
            'config_sha256': run.recipe.digest,
            'seed': run.seed,
            'variant': run.variant,
            'event': event,
            'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            **values,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('a+b') as file:
            # A kill or a power failure may have cut the last line.
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            cut = file.read(1) not in (b'', b'\n')
            text = json.dumps(line, ensure_ascii=False)
            file.write(b'\n' * cut + text.encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the whole lines."""
        if not self.path.exists():
            return
        for text in self.path.read_text(encoding='utf-8', errors='replace').split('\n'):
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and 'run' in line and 'event' in line:
                yield line

    def count(self, configs: Collection[str]) -> dict[str, int]:
        """Count what happened to the runs of configs, by event."""
        counts = dict.fromkeys((STARTED, RESUMED, FINISHED, FAILED, INTERRUPTED), 0)
        for line in self.lines():
            if line.get('config') in configs and line['event'] in counts:
                counts[line['event']] += 1
        return counts

    def spent(self, run: Run) -> dict[str, float | None]:
        """Sum the training times of a run since its start from scratch.

        Returns:
            ``'wall_seconds'`` and ``'cpu_seconds'``; None if a part was killed, so that
            its time is unknown.
        """
        parts: list[dict[str, Any] | None] = []
        for line in self.lines():
            if line['run'] != run.name:
                continue
            if line['event'] == STARTED:
                parts = []
            if line['event'] in (STARTED, RESUMED):
                parts.append(None)
            elif parts:
                parts[-1] = line
        sums: dict[str, float | None] = {}
        for key in ('wall_seconds', 'cpu_seconds'):
            values = [part.get(key) if part else None for part in parts]
            known = [value for value in values if value is not None]
            whole = known and len(known) == len(values)
            sums[key] = round(sum(known), 1) if whole else None
        return sums
