# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Create the lists of an official download, or check them; see docs/data.md."""

import argparse
import json
import sys
import traceback
from pathlib import Path

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.data_preparation import DATASETS, check, prepare, show


def make_parser() -> argparse.ArgumentParser:
    """Create the parser, with one subcommand per dataset."""
    parser = argparse.ArgumentParser(
        description='Write the lists that the configs read, the class names and '
        'preparation.json from an official download; with --check, check that a '
        'prepared folder is correct for training. Run the same command again to resume '
        'an interrupted run.'
    )
    commands = parser.add_subparsers(dest='dataset', required=True, metavar='DATASET')
    for name, dataset in DATASETS.items():
        command = commands.add_parser(name, help=f'prepare or check {name}')
        add = command.add_argument
        add('--raw', help='download: official files and media (with --check: files)')
        add('--out', required=True, help=f'folder of the lists, such as data/{name}')
        add(
            '--check',
            action='store_true',
            help='check --out and write only its check.json; exit code 0 if the folder '
            'is correct for training, 1 if it is not, 2 if it could not be checked',
        )
        add('--full', action='store_true', help='decode every clip with --check')
        add(
            '--sample',
            type=int,
            default=100,
            help='clips that --check decodes per list (default: %(default)s)',
        )
        add('--json', help='path of the --check report (default: check.json in --out)')
        if len(dataset.arrange) > 1:
            add(
                '--label-order',
                choices=list(dataset.arrange),
                help=f'class order (default: {next(iter(dataset.arrange))})',
            )
        if dataset.default_version:
            versions = list(dataset.label_sets[0].published)
            add(
                '--label-version',
                choices=versions,
                help=f'label version (default: {dataset.default_version})',
            )
        add(
            '--allow-partial',
            action='store_true',
            help='report missing clips and unexpected counts instead of failing',
        )
        add('--overwrite', action='store_true', help='replace lists that differ')
        add('--workers', type=int, help='number of threads (default: number of CPUs)')
    return parser


def run_check(args: argparse.Namespace) -> bool:
    """Check a prepared folder, write the report and return its verdict."""
    report = check(
        DATASETS[args.dataset],
        args.out,
        raw=args.raw,
        full=args.full,
        sample=args.sample,
        allow_partial=args.allow_partial,
        workers=args.workers,
    )
    path = Path(args.json or Path(args.out) / 'check.json')
    with replacing(path) as partial:
        partial.write_text(json.dumps(report, indent=2) + '\n')
    print(show(report))
    return report['ok']


def run_prepare(args: argparse.Namespace) -> bool:
    """Write the lists of a dataset and print a summary."""
    if args.raw is None:
        raise ValueError('--raw is required: the folder of the download')
    record = prepare(
        DATASETS[args.dataset],
        args.raw,
        args.out,
        label_order=getattr(args, 'label_order', None),
        label_version=getattr(args, 'label_version', None),
        allow_partial=args.allow_partial,
        overwrite=args.overwrite,
        workers=args.workers,
    )
    for entry in record.get('label_sets', {'': record}).values():
        print(
            f'{args.out}/{entry["class_file"]}: order {entry["label_order"]}, '
            f'fingerprint {entry["class_fingerprint"]}'
        )
        for name, facts in entry['lists'].items():
            print(
                f'{args.out}/{name}: {facts["samples"]} clips, '
                f'{facts["left_out"]} left out, labels {facts["label_version"]}'
            )
    print('Next, run the same command with --check.')
    return True


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    # Class and file names may hold characters that the terminal cannot encode.
    sys.stdout.reconfigure(errors='backslashreplace')
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    if args.json and not Path(args.json).parent.is_dir():
        parser.error(
            f'--json {args.json}: the folder {Path(args.json).parent} does not exist'
        )
    try:
        fine = run_check(args) if args.check else run_prepare(args)
    except (ValueError, OSError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; run the same command again to resume\n')
    except Exception:
        # Python would exit with 1, which means "not correct for training".
        traceback.print_exc()
        parser.exit(2, f'error: {parser.prog} failed; please report the lines above\n')
    parser.exit(0 if fine else 1)


if __name__ == '__main__':
    main()
