# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Rerun tables of the paper on the generated benchmark.

    python tools/reproduce.py table4a --seeds 3 --budget 2

mmaction2's train.py and test.py run each row of the tables with each seed, as many at a
time as there are GPUs or CPU cores. Each finished run is a small JSON file in
--results, and each table gets a report in Markdown, JSON and a figure. Run the same
command again to resume after an interruption of any kind. docs/evidence.md describes
the files.
"""

import argparse
import math
import re
import time
from pathlib import Path

import torch

import selfy_mmaction  # noqa: F401  lets torch read mmengine's checkpoints
from selfy_mmaction.evaluation.reproduction.benchmark import open_benchmark
from selfy_mmaction.evaluation.reproduction.findings import (
    Finding,
    read_findings,
    write_findings,
)
from selfy_mmaction.evaluation.reproduction.jobs import Workplace
from selfy_mmaction.evaluation.reproduction.locks import lock_calls, lock_runs
from selfy_mmaction.evaluation.reproduction.planning import plan
from selfy_mmaction.evaluation.reproduction.recipes import Recipe, read_recipes
from selfy_mmaction.evaluation.reproduction.report import write_report
from selfy_mmaction.evaluation.reproduction.results import Results, check_results
from selfy_mmaction.evaluation.reproduction.rows import (
    Table,
    choose_tables,
    default_configs,
    read_tables,
)
from selfy_mmaction.evaluation.reproduction.run_log import RunLog
from selfy_mmaction.evaluation.reproduction.scheduling import Scheduler, default_jobs
from selfy_mmaction.evaluation.reproduction.summary import summarize_table


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'tables',
        nargs='+',
        metavar='TABLE',
        help="name of a table, such as 'table4a' or 'section4.7', or 'all'",
    )
    parser.add_argument(
        '--seeds',
        type=int,
        default=3,
        help='number of seeds, which are 0, 1, ... (default: %(default)s)',
    )
    parser.add_argument(
        '--budget',
        type=float,
        metavar='HOURS',
        help='start only runs that are expected to end within these hours (default: no '
        'limit)',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        help='number of runs at a time (default: number of GPUs, else of CPU cores)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/stories'),
        help='folder of the checkpoints and logs (default: %(default)s)',
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('docs/results'),
        help='folder of the results and reports (default: %(default)s)',
    )
    parser.add_argument(
        '--configs',
        type=Path,
        help='folder with a folder of configs and a metafile.yml per table (default: '
        'configs/motion/stories)',
    )
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='run nothing, and write the reports of finished runs',
    )
    return parser


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exit with a message if a value is invalid."""
    for name in ('seeds', 'jobs'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, got {value}')
    if args.budget is not None and not (args.budget > 0 and math.isfinite(args.budget)):
        parser.error(f'--budget must be a positive number of hours, got {args.budget}')
    if re.search('[ ,]', str(args.work_dir)):
        parser.error(
            f'--work-dir {str(args.work_dir)!r} contains a space or a comma, which '
            "mmaction2's --cfg-options cannot pass on; choose another folder"
        )


def write_reports(
    tables: list[Table],
    findings: list[Finding],
    recipes: dict[Path, Recipe],
    results: Results,
    log: RunLog,
) -> None:
    """Write the reports of some tables and of all findings; print where they are."""
    judged = [finding.table for finding in findings]
    summaries = {
        table.key: summarize_table(table, recipes, results, log)
        for table in dict.fromkeys([*judged, *tables])
    }
    for table in tables:
        paths = write_report(summaries[table.key], results.folder)
        print(f'{table.title}: {", ".join(map(str, paths))}')
    paths = write_findings(findings, summaries, results.folder)
    if paths:
        print(f'Findings: {", ".join(map(str, paths))}')


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    check_arguments(parser, args)
    end = None if args.budget is None else time.monotonic() + 3600 * args.budget
    torch.set_num_threads(1)  # the runs need the cores
    try:
        configs = args.configs or default_configs()
        all_tables = read_tables(configs)
        tables = choose_tables(all_tables, args.tables)
        findings = read_findings(configs, all_tables)
        recipes = read_recipes([r for t in all_tables.values() for r in t.rows])
        benchmark = open_benchmark(next(iter(recipes.values())).data)
        results = Results(args.results / benchmark.preset, benchmark)
        check_results(results, recipes.values())
        log = RunLog(results.folder / 'started.jsonl')
        if args.report_only:
            write_reports(tables, findings, recipes, results, log)
            return
        with lock_calls(args.work_dir), lock_runs(args.work_dir) as held:
            jobs = args.jobs or default_jobs()
            place = Workplace(args.work_dir, benchmark, log, held, jobs)
            rows = dict.fromkeys(row.path for table in tables for row in table.rows)
            wanted = plan([recipes[path] for path in rows], args.seeds)
            scheduler = Scheduler(wanted, results, place, end)
            try:
                scheduler.run()
            finally:
                write_reports(tables, findings, recipes, results, log)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; run the same command again to resume\n')
    for name, reason in scheduler.not_started.items():
        print(f'not started: {name}, because {reason}')
    if scheduler.failed:
        failed = ', '.join(scheduler.failed)
        parser.exit(
            1,
            f'failed: {failed}; see above, and run the same command again to resume\n',
        )


if __name__ == '__main__':
    main()
