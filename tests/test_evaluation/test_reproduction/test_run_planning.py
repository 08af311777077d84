# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest

from selfy_mmaction.evaluation.reproduction.commands import (
    is_checkpoint,
    trained_epochs,
    training_command,
)
from selfy_mmaction.evaluation.reproduction.planning import (
    Durations,
    choose_learning_rate,
    plan,
    resolve,
)
from selfy_mmaction.evaluation.reproduction.recipes import (
    Run,
    read_recipe,
    read_recipes,
)
from selfy_mmaction.evaluation.reproduction.rows import Row

CONFIG = """
model = dict(type='Net')
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=4e-3))
param_scheduler = [dict(type='LinearLR'), dict(type='OneCycleLR', eta_max=4e-3)]
train_cfg = dict(max_epochs=9)
test_dataloader = dict(dataset=dict(ann_file='data/clips/val.txt'))
"""


def row(path: Path) -> Row:
    return Row(path.stem, '', f'configs/{path.name}', path, None, False, (0.002,))


def test_recipe_is_read_from_the_config(tmp_path):
    path = tmp_path / 'net.py'
    path.write_text(CONFIG)
    recipe = read_recipe(row(path))
    assert recipe.learning_rate == 0.004
    assert recipe.learning_rates == (0.002,)
    assert recipe.schedules == (1,)
    assert recipe.epochs == 9
    assert recipe.data == Path('data/clips')
    for text in ('x = ', 'x = 1', CONFIG.replace('lr=', 'rate=')):
        path.write_text(text)
        with pytest.raises(ValueError, match=r'net\.py'):
            read_recipe(row(path))


def test_configs_that_cannot_be_run_together_are_refused(tmp_path):
    one, same, other = (tmp_path / name for name in ('net.py', 'a/net.py', 'b.py'))
    same.parent.mkdir()
    one.write_text(CONFIG)
    same.write_text(CONFIG)
    other.write_text(CONFIG.replace('data/clips', 'data/others'))
    assert len(read_recipes([row(one), row(one)])) == 1
    with pytest.raises(ValueError, match='have the same name'):
        read_recipes([row(one), row(same)])
    with pytest.raises(ValueError, match='a table needs one benchmark'):
        read_recipes([row(one), row(other)])


def test_seeds_alternate_and_a_search_is_part_of_the_first(make_recipe):
    one = make_recipe('one')
    two = make_recipe('two', learning_rates=(0.002, 0.004))
    assert [wanted.name for wanted in plan([one, two], 3)] == [
        'one/seed-0',
        'two/seed-0_lr-0.002',
        'two/seed-0',
        'one/seed-1',
        'two/seed-1',
        'one/seed-2',
        'two/seed-2',
    ]


@pytest.mark.parametrize(
    ('accuracies', 'chosen'),
    [
        ({0.002: 0.5, 0.004: 0.4, 0.008: 0.3}, 0.002),
        ({0.002: 0.5, 0.004: 0.5, 0.008: 0.5}, 0.004),  # the config's own
        ({0.002: 0.5, 0.004: 0.4, 0.008: 0.5}, 0.002),
        ({0.002: 0.5, 0.004: 0.4}, None),
    ],
)
def test_best_learning_rate_is_chosen(accuracies, chosen, make_recipe, make_run_result):
    recipe = make_recipe(learning_rates=(0.002, 0.004, 0.008))

    def get(run: Run) -> dict | None:
        known = run.seed == 0 and run.learning_rate in accuracies
        return make_run_result(run, accuracies[run.learning_rate]) if known else None

    assert choose_learning_rate(recipe, get) == chosen
    last = plan([recipe], 2)[-1]
    run = None if chosen is None else Run(recipe, 1, chosen)
    assert resolve(last, get) == run


def test_learning_rate_is_passed_to_optimizer_and_schedule(make_recipe):
    recipe = make_recipe()
    own = training_command(Run(recipe, 3, 0.004), Path('work'), resume=False)
    assert own[-2:] == ['--cfg-options', 'randomness.seed=3']
    assert '--resume' not in own
    other = training_command(Run(recipe, 3, 0.002), Path('work'), resume=True)
    assert other[-3:] == [
        'randomness.seed=3',
        'optim_wrapper.optimizer.lr=0.002',
        'param_scheduler.0.eta_max=0.002',
    ]
    assert '--resume' in other


def test_durations_are_those_of_the_same_config_or_of_the_slowest(
    make_recipe, make_run_result
):
    durations = Durations()
    fast, slow, new = map(make_recipe, ('fast', 'slow', 'new'))
    assert durations.expected(new) is None
    for recipe, seconds in ((fast, 10.0), (fast, 20.0), (slow, 94.0), (slow, None)):
        result = make_run_result(Run(recipe, 0, 0.004), wall_seconds=seconds)
        durations.learn(recipe, result, 'cpu')
        durations.learn(recipe, {**result, 'wall_seconds': 1e9}, 'a GPU')
    # With the 6 seconds of each test.
    assert durations.expected(fast) == 21
    assert durations.expected(slow) == durations.expected(new) == 100


def test_checkpoints_in_a_folder(tmp_path):
    assert trained_epochs(tmp_path) == 0
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_acc_top1_epoch_12.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'epoch_x.pth').touch()
    assert trained_epochs(tmp_path) == 10
    assert not is_checkpoint(tmp_path / 'epoch_10.pth')
    assert not is_checkpoint(tmp_path / 'epoch_11.pth')
