# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Show what a SELFY block sees in a video: similarities, motion, importance.

    python tools/visualize.py VIDEO --out FOLDER
    python tools/visualize.py VIDEO --out FOLDER --config CONFIG --checkpoint CHECKPOINT

Writes a page to click through, pictures, and a moving picture. Without a checkpoint,
the features of an ImageNet network are compared, which is what a block starts from.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from mmengine.utils import mkdir_or_exist

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.pipeline import Clip
from selfy_mmaction.inference.videos import find_videos
from selfy_mmaction.models import SoftArgmaxExtraction
from selfy_mmaction.ops import check_window
from selfy_mmaction.visualization.animation import (
    check_moving,
    save_figure,
    write_animation,
)
from selfy_mmaction.visualization.channel_figure import draw_channels
from selfy_mmaction.visualization.clip_animation import draw_clip
from selfy_mmaction.visualization.displacement_figure import draw_displacement
from selfy_mmaction.visualization.extraction_figure import draw_extractions, extract
from selfy_mmaction.visualization.grad_cam import ExplainedClip, grad_cam
from selfy_mmaction.visualization.grad_cam_check import (
    randomization_check,
    show_randomization,
)
from selfy_mmaction.visualization.grad_cam_figure import (
    ExplainedModel,
    check_true_class,
    draw_grad_cams,
)
from selfy_mmaction.visualization.image_features import ImageFeatures
from selfy_mmaction.visualization.map_figure import draw_maps
from selfy_mmaction.visualization.page import write_page
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
_WITH_NETWORK = (
    *('classes', 'block', 'layer', 'explain', 'true_class', 'cam_layer', 'compare'),
    'randomize',
)


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
    """Check the arguments, which takes no time.

    Raises:
        OSError: If the video does not exist or the folder cannot be written to.
        ValueError: If arguments are wrong or contradict each other.
    """
    if Path(args.video).is_dir():
        raise ValueError(f'{args.video} is a folder, expected a video')
    find_videos(args.video)
    has_network = args.config is not None or args.checkpoint is not None
    for name in _WITHOUT_NETWORK if has_network else _WITH_NETWORK:
        if getattr(args, name) not in (None, [], False):
            reason = 'is for running without' if has_network else 'needs'
            raise ValueError(f'--{name.replace("_", "-")} {reason} --checkpoint')
    if args.block is not None and args.layer is not None:
        raise ValueError('--block and --layer cannot be combined')
    for name in ('offsets', 'window'):
        if has_network and args.layer is None and getattr(args, name) is not None:
            raise ValueError(f'--{name} needs --layer: a block has its own {name}')
    if args.window is not None:
        check_window(args.window[0] if len(args.window) == 1 else args.window)
    parse_queries(args.query)
    if args.animation != 'none':
        check_moving(args.out / f'motion.{args.animation}')
    mkdir_or_exist(args.out)
    probe = args.out / '.writable'
    probe.touch()
    probe.unlink()


def parse_queries(texts: list[str]) -> str | list[tuple[int, float, float]]:
    """Parse ``--query``.

    Returns:
        ``'grid'``, ``'moving'`` or points (t, x, y).

    Raises:
        ValueError: If it is something else.
    """
    if texts in (['grid'], ['moving']):
        return texts[0]
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


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show what is being done."""
    print(f'{text} ...', flush=True)
    yield


def record(args: argparse.Namespace) -> tuple[RecordedClip, list[Network]]:
    """Run the networks on the video.

    Returns:
        The recorded clip, and the networks that classify it.
    """
    parts = dict(start=args.start, seconds=args.seconds)
    compared = {}
    if args.offsets is not None:
        compared['offsets'] = args.offsets
    if args.window is not None:
        compared['window'] = args.window[0] if len(args.window) == 1 else args.window
    name = Path(args.video).name
    if args.config is None and args.checkpoint is None:
        with step('reading the video and comparing features of an ImageNet network'):
            features = ImageFeatures(
                args.image_weights, args.frames or 8, device=args.device
            )
            clip = features.read(args.video, **parts)
            return features.record(clip, name, **compared), []
    networks = []
    for config, checkpoint in ((args.config, args.checkpoint), *args.compare):
        with step(f'running {checkpoint}'):
            predictor = Predictor(
                config,
                checkpoint,
                classes=args.classes if not networks else None,
                device=args.device,
            )
            if args.true_class is not None:
                check_true_class(args.true_class, predictor.class_names, checkpoint)
            clip = predictor.pipeline.open(args.video).read_clip(**parts)
            networks.append(Network(network_name(config, checkpoint), predictor, clip))
    _, predictor, clip = networks[0]
    if clip.note:
        print(f'note: {clip.note}', file=sys.stderr)
    if args.layer is not None:
        recorded, _ = record_layer(predictor, clip, name, args.layer, **compared)
    else:
        recorded, _ = record_block(predictor, clip, name, args.block)
    return recorded, networks


def network_name(config: str | None, checkpoint: str) -> str:
    """Return a short name: that of the config, or of a packaged network."""
    return Path(config).stem if config else checkpoint.rpartition('/')[2]


def choose_queries(clip: RecordedClip, texts: list[str]) -> list[Query]:
    """Return the positions to draw."""
    chosen = parse_queries(texts)
    if chosen == 'grid':
        return grid_queries(clip, 2)
    if chosen == 'moving':
        found, note = moving_queries(clip, _SHOWN)
        if note:
            print(f'note: {note}', file=sys.stderr)
        return found
    return queries_at(clip, chosen)


def explain(args: argparse.Namespace, networks: list[Network]) -> list[ExplainedModel]:
    """Compute the Grad-CAM map of each network."""
    explained: list[ExplainedModel] = []
    for name, predictor, clip in networks:
        label = None
        if args.explain is not None:
            check_true_class(args.explain, predictor.class_names, name)
            label = predictor.class_names.index(args.explain)
        layer = args.cam_layer if not explained else None
        with step(f'Grad-CAM of {name}'):
            found: ExplainedClip = grad_cam(
                predictor.model, clip.inputs, label=label, layer=layer
            )
        explained.append(ExplainedModel(name, found, predictor.class_names))
        if args.randomize and len(explained) == 1:
            steps = randomization_check(predictor.model, clip.inputs, layer=layer)
            print(show_randomization(steps))
    return explained


def extraction_figure(clip: RecordedClip, query: Query) -> Figure:
    """Draw what extractions make of a position, like Figure 3 of the paper."""
    modules = {'soft-argmax': SoftArgmaxExtraction(clip.window).eval()}
    features = extract(clip, query, modules)
    t, y, x = query
    if clip.extraction is not None:
        features['extraction of the network'] = clip.extraction[t, y, x]
    title = f'{clip.video}, frame {t}, row {y} and column {x} of the grid'
    return draw_extractions(
        clip.stss[t, y, x], features, clip.offsets, clip.inside[t], title
    )


def write_all(args: argparse.Namespace) -> None:
    """Record the clip and write the page and the pictures."""
    clip, networks = record(args)
    queries = choose_queries(clip, args.query)
    t = args.frame
    if t is not None and not 0 <= t < len(clip.frames):
        raise ValueError(f'--frame {t} must be 0 to {len(clip.frames) - 1}')
    explained, cam = explain(args, networks), None
    if explained:
        maps = explained[0].clip.maps
        ratio = len(maps) / len(clip.frames)
        cam = maps[[int((index + 0.5) * ratio) for index in range(len(clip.frames))]]
    written = []

    def path(name: str, text: str) -> Path:
        written.append((name, text))
        return args.out / name

    with step('drawing'):
        page = path('index.html', 'click a position to see its matches; opens offline')
        write_page(page, clip, query=queries[0], cam=cam)
        save_figure(
            path('similarity_maps.png', 'where positions find themselves'),
            draw_maps(clip, queries),
        )
        save_figure(
            path('displacement.png', 'motion by soft-argmax, and its confidence'),
            draw_displacement(clip, t),
        )
        if clip.extraction is not None:
            save_figure(
                path('channels.png', 'channels of the extraction and integration'),
                draw_channels(clip, t),
            )
        save_figure(
            path('extractions.png', 'what extractions make of one position'),
            extraction_figure(clip, queries[0]),
        )
        if explained:
            draw_grad_cams(
                path('grad_cam.png', 'what speaks for the class'),
                explained,
                true_class=args.true_class,
                title=clip.video,
            )
        if args.animation != 'none':
            write_animation(
                path(f'motion.{args.animation}', 'the clip with motion and matches'),
                draw_clip(clip, queries[0]),
            )
    for name, text in written:
        print(f'{args.out / name}: {text}')


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    try:
        check_arguments(args)
        write_all(args)
    except (ImportError, OSError, UnreadableError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; files so far are complete\n')


if __name__ == '__main__':
    main()
