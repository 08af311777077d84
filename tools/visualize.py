# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Show what a SELFY block sees in a video: similarities, motion, importance.

    python tools/visualize.py VIDEO --out FOLDER
    python tools/visualize.py VIDEO --out FOLDER --config CONFIG --checkpoint CHECKPOINT

Writes a page to click through, pictures, and a moving picture. Without a checkpoint,
the features of an ImageNet network are compared, which is what a block starts from.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from mmengine.utils import mkdir_or_exist

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.network import choose_files
from selfy_mmaction.inference.pipeline import Clip
from selfy_mmaction.inference.videos import find_videos
from selfy_mmaction.ops import check_int, check_offsets, check_window
from selfy_mmaction.visualization.animation import check_moving
from selfy_mmaction.visualization.grad_cam import grad_cam
from selfy_mmaction.visualization.grad_cam_check import (
    randomization_check,
    show_randomization,
)
from selfy_mmaction.visualization.grad_cam_figure import (
    ExplainedModel,
    check_true_class,
)
from selfy_mmaction.visualization.image_features import ImageFeatures
from selfy_mmaction.visualization.map_figure import MOST_ROWS
from selfy_mmaction.visualization.pictures import FILES, write_pictures
from selfy_mmaction.visualization.queries import (
    Query,
    grid_queries,
    moving_queries,
    queries_at,
)
from selfy_mmaction.visualization.recorded_clip import RecordedClip
from selfy_mmaction.visualization.recording import record_block, record_layer

_SHOWN = 4  # rows of the picture of similarities
_WITHOUT_NETWORK = ('image_weights', 'frames')
_GRAD_CAM = ('explain', 'true_class', 'cam_layer', 'compare', 'randomize')
_WITH_NETWORK = ('classes', 'block', 'layer', *_GRAD_CAM)


class Network(NamedTuple):
    """A network and the clip as its pipeline reads it."""

    name: str
    predictor: Predictor
    clip: Clip


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('video', nargs='?', default=str(SAMPLE_CLIP), help='video (default: a sample)')
    add('--out', type=Path, required=True, help='folder to write to')
    group = parser.add_argument_group('network')
    add = group.add_argument
    add('--config', help='config of the training: a path, or PACKAGE::NAME')
    add('--checkpoint', help='weights: a path, URL or selfy_mmaction://NAME')
    add('--classes', help='class names, one per line (default: those of the training)')
    add('--block', help='name of the block in the network (default: the first)')
    add('--layer', help='compare the features of this layer instead of a block')
    add(
        '--image-weights',
        help='without a checkpoint: file of a torchvision ResNet (default: the '
        'EfficientNet-lite0 of a package)',
    )
    add('--device', help='such as cpu or cuda:1 (default: the first GPU, else the CPU)')
    group = parser.add_argument_group('part of the video')
    add = group.add_argument
    add('--start', type=float, help='first second (default: 0, or without a checkpoint '
        'so that the part is in the middle)')  # fmt: skip
    add('--seconds', type=float, help='length (default: the whole video, or without a '
        'checkpoint 0.1 per frame)')  # fmt: skip
    add(
        '--frames',
        type=int,
        help='frames, without a checkpoint (default: 8; a network has its own number)',
    )
    group = parser.add_argument_group('what is compared, without a block')
    add = group.add_argument
    add('--offsets', type=int, nargs='+', help='temporal offsets (default: -2 to 2)')
    add(
        '--window',
        type=int,
        nargs='+',
        help='rows and columns of the window, odd (default: 9 9)',
    )
    group = parser.add_argument_group('what is drawn')
    add = group.add_argument
    add(
        '--query',
        nargs='+',
        default=['moving'],
        metavar='T,X,Y',
        help='positions: frame from 0, and pixel of the frames that the network sees; '
        'or grid; or moving, where something moves (default: moving)',
    )
    add('--frame', type=int, help='frame of the pictures (default: in the middle)')
    add(
        '--animation',
        choices=('gif', 'mp4', 'none'),
        default='gif',
        help='format of the moving picture (default: %(default)s)',
    )
    group = parser.add_argument_group('Grad-CAM, with a checkpoint')
    add = group.add_argument
    add(
        '--explain',
        metavar='CLASS',
        help='name of a class (default: the predicted one)',
    )
    add('--true-class', metavar='CLASS', help='predictions become right or wrong')
    add('--cam-layer', help='layer to explain (default: before the global pooling)')
    add(
        '--compare',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another network to explain; may be repeated',
    )
    add(
        '--randomize',
        action='store_true',
        help='check that the map changes with random weights (default: no)',
    )
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments, which takes no time, and create the folder.

    Raises:
        ImportError: If a package that writes the moving picture is missing.
        OSError: If a file does not exist or the folder cannot be written to.
        ValueError: If arguments are wrong or contradict each other.
    """
    if Path(args.video).is_dir():
        raise ValueError(f'{args.video} is a folder, expected a video')
    find_videos(args.video)
    has_network = args.config is not None or args.checkpoint is not None
    for name in _WITHOUT_NETWORK if has_network else _WITH_NETWORK:
        if is_given(args, name):
            reason = 'is for running without' if has_network else 'needs'
            raise ValueError(f'--{name.replace("_", "-")} {reason} --checkpoint')
    for config, checkpoint in network_files(args):
        choose_files(config, checkpoint)
    if args.block is not None and args.layer is not None:
        raise ValueError('--block and --layer cannot be combined')
    for name in ('offsets', 'window'):
        if has_network and args.layer is None and is_given(args, name):
            raise ValueError(f'--{name} needs --layer: a block has its own {name}')
    compared_options(args)
    if args.start is not None and not args.start >= 0:
        raise ValueError(f'--start {args.start:g} must be 0 or more')
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f'--seconds {args.seconds:g} must be above 0')
    if args.frames is not None:
        check_int('--frames', args.frames, least=2)
    if args.frame is not None:
        check_int('--frame', args.frame, least=0)
    parse_queries(args.query)
    if args.animation != 'none':
        check_moving(args.out / f'motion.{args.animation}')
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f'--out {args.out} is a file, expected a folder')
    try:
        mkdir_or_exist(args.out)
        with TemporaryFile(dir=args.out):
            pass
    except OSError as error:
        raise OSError(
            f'--out {args.out}: a folder that can be written to is expected, but '
            f'{error.strerror}'
        ) from error


def is_given(args: argparse.Namespace, name: str) -> bool:
    """Return whether an option is used."""
    return getattr(args, name) not in (None, [], False)


def network_files(args: argparse.Namespace) -> list[tuple[str | None, str]]:
    """Return config and checkpoint of each network."""
    if args.config is None and args.checkpoint is None:
        return []
    return [(args.config, args.checkpoint), *map(tuple, args.compare)]


def network_names(files: Sequence[tuple[str | None, str]]) -> list[str]:
    """Return a short name per network, with its checkpoint if two have one config."""
    names = [Path(config or checkpoint).stem for config, checkpoint in files]
    return [
        f'{name} ({Path(checkpoint).name})' if names.count(name) > 1 else name
        for name, (_, checkpoint) in zip(names, files, strict=True)
    ]


def compared_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the comparison that are given.

    Raises:
        ValueError: If one is wrong.
    """
    options: dict[str, Any] = {}
    if args.offsets is not None:
        options['offsets'] = check_offsets(args.offsets)
    if args.window is not None:
        window = args.window[0] if len(args.window) == 1 else args.window
        options['window'] = check_window(window)
    return options


def parse_queries(texts: list[str]) -> str | list[tuple[int, float, float]]:
    """Parse ``--query``.

    Returns:
        ``'grid'``, ``'moving'`` or points (t, x, y).

    Raises:
        ValueError: If it is something else.
    """
    if texts in (['grid'], ['moving']):
        return texts[0]
    if len(texts) > MOST_ROWS:
        raise ValueError(f'--query has {len(texts)} positions, at most {MOST_ROWS} fit')
    points = []
    for text in texts:
        try:
            t, x, y = text.split(',')
            points.append((int(t), float(x), float(y)))
        except ValueError:
            raise ValueError(
                f'--query {text!r} must be grid, moving or T,X,Y such as 3,120,64'
            ) from None
    return points


def say(text: str) -> None:
    """Show what is being done."""
    print(f'{text} ...', flush=True)


def note(text: str) -> None:
    """Show what is unusual."""
    if text:
        print(f'note: {text}', file=sys.stderr, flush=True)


def record(args: argparse.Namespace) -> tuple[RecordedClip, list[Network]]:
    """Run the networks on the video.

    Returns:
        The recorded clip, and the networks that classify it.
    """
    part = dict(start=args.start, seconds=args.seconds)
    options = compared_options(args)
    video = Path(args.video).name
    networks = load_networks(args, part)
    if not networks:
        say('comparing features of an ImageNet network')
        features = ImageFeatures(
            args.image_weights, args.frames or 8, device=args.device
        )
        clip = features.read(args.video, **part)
        note(clip.note)
        return features.record(clip, video, **options), []
    name, predictor, clip = networks[0]
    note(clip.note)
    say(f'running {name}')
    if args.layer is not None:
        recorded, _ = record_layer(predictor, clip, video, args.layer, **options)
    else:
        recorded, _ = record_block(predictor, clip, video, args.block)
    return recorded, networks


def load_networks(
    args: argparse.Namespace, part: dict[str, float | None]
) -> list[Network]:
    """Load the networks, and read the part of the video for each."""
    files = network_files(args)
    networks: list[Network] = []
    for name, (config, checkpoint) in zip(network_names(files), files, strict=True):
        say(f'loading {name}')
        classes = None if networks else args.classes
        predictor = Predictor(config, checkpoint, classes=classes, device=args.device)
        for each in (args.explain, args.true_class):
            if each is not None:
                check_true_class(each, predictor.class_names, name)
        clip = predictor.pipeline.open(args.video).read_clip(**part)
        networks.append(Network(name, predictor, clip))
    return networks


def choose_queries(clip: RecordedClip, texts: list[str]) -> list[Query]:
    """Return the positions to draw."""
    chosen = parse_queries(texts)
    if chosen == 'grid':
        return grid_queries(clip, 2)
    if chosen == 'moving':
        found, reason = moving_queries(clip, _SHOWN)
        note(reason)
        return found
    return queries_at(clip, chosen)


def explain(args: argparse.Namespace, networks: list[Network]) -> list[ExplainedModel]:
    """Compute the Grad-CAM map of each network.

    Returns:
        The maps; none if a network has no layer for them and no option asks for them.

    Raises:
        ValueError: If a network has none and an option asks for them.
    """
    explained = []
    try:
        for index, (name, predictor, clip) in enumerate(networks):
            say(f'Grad-CAM of {name}')
            label = None
            if args.explain is not None:
                label = predictor.class_names.index(args.explain)
            layer = args.cam_layer if index == 0 else None
            options = dict(label=label, layer=layer)
            found = grad_cam(predictor.model, clip.inputs, **options)
            explained.append(ExplainedModel(name, found, predictor.class_names))
            if args.randomize and index == 0:
                steps = randomization_check(predictor.model, clip.inputs, **options)
                print(show_randomization(steps))
    except (TypeError, ValueError) as error:
        if any(is_given(args, option) for option in _GRAD_CAM):
            raise ValueError(f'{name}: {error}') from error
        note(f'no grad_cam.png: {error}')
        return []
    return explained


def visualize(args: argparse.Namespace) -> None:
    """Record the clip and write the page and the pictures."""
    clip, networks = record(args)
    queries = choose_queries(clip, args.query)
    if args.frame is not None:
        check_int('--frame', args.frame, least=0, most=len(clip.frames) - 1)
    explained = explain(args, networks)
    say('drawing')
    written = set()
    for path in write_pictures(
        args.out,
        clip,
        queries,
        t=args.frame,
        explained=explained,
        true_class=args.true_class,
        animation=None if args.animation == 'none' else args.animation,
    ):
        print(f'{path}: {FILES[path.name]}', flush=True)
        written.add(path.name)
    old = [name for name in FILES if (args.out / name).exists() and name not in written]
    if old:
        note(f'{", ".join(old)} in {args.out}: from an earlier run')


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    # Class and file names may hold characters that the terminal cannot encode.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    try:
        check_arguments(args)
        visualize(args)
    except BrokenPipeError:  # such as `| head`
        os._exit(1)
    except UnreadableError as error:
        reason = str(error).removeprefix('ValueError: ')
        parser.exit(2, f'error: {args.video} cannot be read: {reason}\n')
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; files so far are complete\n')


if __name__ == '__main__':
    main()
