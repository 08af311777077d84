# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Write the weights of a trained network to a safetensors file, without the rest.

    python tools/publish_checkpoint.py CONFIG work_dirs/x/epoch_6.pth OUT.safetensors

OUT holds the weights, the class names, the name of the config and your notes. It holds
no optimizer and no code, and is loaded like any checkpoint: test.py CONFIG OUT,
init_recognizer(CONFIG, OUT), load_from. mmaction2's publish_model.py writes
a .pth file with the same weights instead.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmaction
import mmengine
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader

import selfy_mmaction
from selfy_mmaction.checkpoints.safetensors_files import write_safetensors
from selfy_mmaction.engine.checkpoint_check_hook import check_complete
from selfy_mmaction.text_files import read_class_names


def publish(
    config: Path,
    checkpoint: str,
    out: Path,
    classes: Path | None = None,
    notes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the weights of a checkpoint to a safetensors file.

    Args:
        config: Config that the network was trained with.
        checkpoint: Path or URL of the checkpoint.
        out: The file to write.
        classes: File with one class name per line, in the order of the labels.
            Default: None, the names in the checkpoint, if it has them.
        notes: Texts to store in the file, by name. Default: none.

    Returns:
        All texts in the file but the class names.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If the checkpoint does not fit the network, there are not as many
            names as classes, or ``out`` does not end in ``.safetensors``.
    """
    if out.suffix != '.safetensors':
        raise ValueError(f'OUT {out} must end in .safetensors')
    if out.resolve() == Path(checkpoint).resolve():
        raise ValueError(f'OUT {out} would overwrite it')
    names = read_class_names(str(classes)) if classes else []
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if cfg.model.get('backbone'):
        cfg.model.backbone.pretrained = None
    with torch.device('meta'):  # allocates no memory
        model = MODELS.build(cfg.model)
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    state = {
        key.removeprefix('module.'): value
        for key, value in loaded.get('state_dict', loaded).items()
    }
    check_complete(model, state)
    unknown = sorted(set(state) - set(model.state_dict()))
    if unknown:
        raise ValueError(f'it has weights that the network lacks: {unknown[:3]}')
    meta = loaded.get('meta', {})
    names = names or list((meta.get('dataset_meta') or {}).get('classes') or ())
    num_classes = getattr(getattr(model, 'cls_head', None), 'num_classes', len(names))
    if names and len(names) != num_classes:
        raise ValueError(
            f'the network has {num_classes} classes, but there are {len(names)} class '
            f'names in {classes or checkpoint}; give the right file with --classes'
        )
    texts = {
        'config': Path(config).name,
        **{key: str(meta[key]) for key in ('epoch', 'seed') if key in meta},
        'versions': ', '.join(
            f'{module.__name__} {module.__version__}'
            for module in (selfy_mmaction, mmaction, mmengine, torch)
        ),
        **(notes or {}),
    }
    write_safetensors(out, state, names, texts)
    return texts


def parse_notes(notes: Sequence[str]) -> dict[str, str]:
    """Split notes at the first ``=``.

    Raises:
        ValueError: If a note has no ``=`` or no name, or two have the same name.
    """
    found: dict[str, str] = {}
    for note in notes:
        name, equals, text = note.partition('=')
        if not equals or not name:
            raise ValueError(f'--note {note!r} must be NAME=TEXT')
        if name in found:
            raise ValueError(f'--note {name!r} is given twice')
        found[name] = text
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config', metavar='CONFIG', type=Path, help='config of the training'
    )
    parser.add_argument(
        'checkpoint', metavar='CHECKPOINT', help='path or URL of the checkpoint'
    )
    parser.add_argument(
        'out', metavar='OUT', type=Path, help='file ending in .safetensors'
    )
    parser.add_argument(
        '--classes',
        type=Path,
        help='file with one class name per line (default: the names in CHECKPOINT)',
    )
    parser.add_argument(
        '--note',
        nargs='+',
        default=[],
        metavar='NAME=TEXT',
        help="texts to store, such as 'accuracy=98.6 %%' license=Apache-2.0",
    )
    args = parser.parse_args()
    try:
        texts = publish(
            args.config,
            args.checkpoint,
            args.out,
            args.classes,
            parse_notes(args.note),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f'{args.checkpoint} was not published: {error}') from None
    print(f'{args.out} written')
    for name, text in texts.items():
        print(f'  {name}: {text}')


if __name__ == '__main__':
    main()
