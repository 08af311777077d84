# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Any content of an official file or a list is read, or rejected with its name."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from selfy_mmaction.data_preparation import DATASETS, check, gym, prepare

ODD_VALUES = [
    *(None, True, 0.9, -1, 3, 10**30, 1e400, float('nan')),
    *('', ' ', 'x', '3', '1_0', '٣', '-1', '1e3', 'nan', 'inf', '9' * 5000, 'a b'),
    *('a\nb', 'a\0b', '\ud800', '../x', [], [[]], [1, 2], {}, {'a': []}),
]

WHOLE_FILES = [
    *(b'', b' \n', b'null', b'3', b'"x"', b'[]', b'{}', b'[[]]', b'\0', b';', b','),
    b'[' * 200_000,
    b'"' + b'x' * 200_000,
]


def change_json(content, rng: random.Random):
    """Replace, remove or repeat one value somewhere in a JSON document."""
    if not isinstance(content, (dict, list)) or not content or rng.random() < 0.15:
        return rng.choice(ODD_VALUES)
    keys = list(content) if isinstance(content, dict) else range(len(content))
    key = rng.choice(keys)
    content = content.copy()
    if rng.random() < 0.15:
        del content[key]
    elif rng.random() < 0.15 and isinstance(content, list):
        content.append(content[key])
    else:
        content[key] = change_json(content[key], rng)
    return content


def change_field(text: str, rng: random.Random) -> bytes:
    """Replace one field of one line, or remove, repeat or move a line."""
    lines = text.split('\n')
    number = rng.randrange(len(lines))
    separator = next((s for s in (';', ',', ' ') if s in lines[number]), ' ')
    fields = lines[number].split(separator)
    change = rng.randrange(5)
    if change == 0:
        del lines[number]
    elif change == 1:
        lines.insert(rng.randrange(len(lines)), lines[number])
    elif change == 2:
        fields.pop(rng.randrange(len(fields)))
    elif change == 3:
        fields.append('7')
    else:
        fields[rng.randrange(len(fields))] = str(rng.choice(ODD_VALUES))
    if change > 1:
        lines[number] = separator.join(fields)
    return '\n'.join(lines).encode(errors='surrogatepass')


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut a file short, or overwrite, insert, remove or repeat bytes."""
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    noise = rng.randbytes(rng.randrange(1, 5))
    return rng.choice(
        [
            content[:start],
            content[:start] + noise + content[start + len(noise) :],
            content[:start] + noise + content[start:],
            content[:start] + content[stop:],
            content[:stop] + content[start:],
        ]
    )


def change_encoding(content: bytes, rng: random.Random) -> bytes:
    text = content.decode()
    return rng.choice(
        [
            *(text.encode(code) for code in ('utf-16', 'utf-16-le', 'utf-32')),
            text.replace('o', 'ö').encode('latin-1'),
            text.encode('utf-8-sig'),
            text.replace('\n', '\r\n').encode(),
            text.replace('\n', '\r').encode(),
            gzip.compress(content, mtime=0),
        ]
    )


def damage(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    kind = rng.randrange(8)
    if kind == 0:
        content = rng.choice(WHOLE_FILES)
    elif kind == 1:
        content = change_encoding(content, rng)
    elif kind < 4:
        content = change_bytes(content, rng)
    elif path.suffix == '.json':
        content = json.dumps(change_json(json.loads(content), rng)).encode()
    else:
        content = change_field(content.decode(), rng)
    path.write_bytes(content)


def error_message(run: Callable[[], object], default: str) -> str:
    """Return the message of a documented error of ``run``, or the default."""
    try:
        run()
    except (ValueError, OSError) as error:
        return str(error)
    return default


@pytest.mark.parametrize('seed', [0])
@pytest.mark.parametrize('name', DATASETS)
def test_any_damage_is_named(name, seed, request, monkeypatch):
    raw, out = request.getfixturevalue(name), request.getfixturevalue('tmp_path') / 'o'
    monkeypatch.setattr(gym, 'find_ffmpeg', lambda: 'ffmpeg')
    monkeypatch.setattr(gym, '_cut', lambda ffmpeg, cut: cut.out.touch())
    prepare(DATASETS[name], raw, out, allow_partial=True, workers=1)
    files = [path for root in (raw, out) for path in root.rglob('*.*')]
    files = [path for path in files if path.suffix in ('.json', '.csv', '.txt')]
    rng = random.Random(seed)
    for _ in range(30):
        path = rng.choice(files)
        whole = path.read_bytes()
        damage(path, rng)
        copy = shutil.copytree(out, out.parent / 'copy', symlinks=True)
        for run in (
            lambda: check(DATASETS[name], out, raw, sample=0, workers=1),
            lambda copy=copy: prepare(
                DATASETS[name],
                raw,
                copy,
                allow_partial=True,
                overwrite=True,
                workers=1,
            ),
        ):
            message = error_message(run, path.name)
            # If two files do not match, either may be named.
            assert any(file.name in message for file in files), message
        shutil.rmtree(copy)
        path.write_bytes(whole)
