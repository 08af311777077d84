# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Write one clip of the motion benchmark to an H.264 file that any program plays.

    python tools/data/make_sample.py OUT.mp4 --index 0

The clip is one of the split val of preset small, which training never shows.
This is how selfy_mmaction/pretrained/sample.mp4 was made. Needs PyAV: pip install
av.
"""

import argparse
from pathlib import Path

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.motion_benchmark import class_names, clip_label, render_clip
from selfy_mmaction.motion_benchmark.generation import FRAMES_PER_SECOND

PRESET, SPLIT = 'small', 'val'


def write_clip(out: Path, index: int, seed: int = 0) -> str:
    """Write a clip.

    Args:
        out: The file to write, ``.mp4``.
        index: Index of the clip in its split, from 0.
        seed: Seed of the benchmark. Default: 0.

    Returns:
        Name of its class.

    Raises:
        ImportError: If PyAV is not installed.
        IndexError: If the clip does not exist.
        OSError: If the file cannot be written.
    """
    import av

    frames = render_clip(PRESET, SPLIT, index, seed)
    height, width = frames.shape[1:3]
    with replacing(out) as partial, av.open(str(partial), 'w', format='mp4') as file:
        stream = file.add_stream('libx264', FRAMES_PER_SECOND)
        stream.width, stream.height = width, height
        stream.pix_fmt = 'yuv420p'  # the only one that browsers play
        stream.options = {'crf': '15', 'preset': 'veryslow'}
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        file.mux(stream.encode())
    return class_names(PRESET)[clip_label(PRESET, index)]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', metavar='OUT', type=Path, help='file ending in .mp4')
    parser.add_argument(
        '--index', type=int, default=0, help='clip of the split (default: 0)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the benchmark (default: 0)'
    )
    args = parser.parse_args()
    if args.out.suffix.lower() != '.mp4':
        parser.error(f'OUT {args.out} must end in .mp4')
    if args.seed < 0:
        parser.error(f'--seed {args.seed} must be at least 0')
    try:
        name = write_clip(args.out, args.index, args.seed)
    except ImportError as error:
        raise SystemExit(f'{error}. Install PyAV: pip install av') from None
    except (IndexError, OSError) as error:
        raise SystemExit(f'{args.out} was not written: {error}') from None
    print(f'{args.out} written; it shows {name}')


if __name__ == '__main__':
    main()
