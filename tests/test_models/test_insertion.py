# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from selfy_mmaction.models import insert_block, without_inserted_blocks


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return x * self.factor


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.stage = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

    def forward(self, x):
        return self.stage(self.stem(x))


def make_host() -> Host:
    torch.manual_seed(0)
    return Host()


def test_runs_on_the_output_of_the_layer():
    host, x = make_host(), torch.randn(2, 3)
    expected = host.stage(2 * host.stem(x))
    insert_block(host, 'stem', Scale(2.0))
    torch.testing.assert_close(host(x), expected)


def test_nested_layer():
    host, x = make_host(), torch.randn(2, 3)
    expected = (3 * host.stage[0](host.stem(x))).relu()
    insert_block(host, 'stage.0', Scale(3.0))
    torch.testing.assert_close(host(x), expected)
    assert 'inserted_blocks.stage-0.factor' in host.state_dict()


def test_keys_of_the_host_do_not_change():
    host = make_host()
    keys = list(host.state_dict())
    insert_block(host, 'stem', Scale(2.0))
    assert list(host.state_dict()) == [*keys, 'inserted_blocks.stem.factor']


@pytest.mark.parametrize(
    'make_copy', [copy.deepcopy, lambda host: AveragedModel(host).module]
)
def test_a_copy_runs_its_own_block(make_copy):
    host, x = make_host(), torch.randn(2, 3)
    insert_block(host, 'stem', Scale(2.0))
    expected = host(x)
    copied = make_copy(host)
    with torch.no_grad():
        copied.inserted_blocks['stem'].factor.fill_(5.0)
    torch.testing.assert_close(host(x), expected)
    torch.testing.assert_close(copied(x), host.stage(5 * host.stem(x).div(2)))


def test_state_dict_round_trip():
    host, other, x = make_host(), make_host(), torch.randn(2, 3)
    insert_block(host, 'stem', Scale(2.0))
    insert_block(other, 'stem', Scale(7.0))
    other.load_state_dict(host.state_dict())
    assert torch.equal(host(x), other(x))


def test_hidden_from_the_host_and_back_after_an_error():
    host = make_host()
    insert_block(host, 'stem', Scale(2.0))
    keys = []

    def run_code_of_the_host():
        with without_inserted_blocks(host):
            keys.extend(host.state_dict())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_code_of_the_host()
    assert keys
    assert 'inserted_blocks.stem.factor' not in keys
    assert 'inserted_blocks.stem.factor' in host.state_dict()


def test_unknown_layer_lists_the_nearest():
    with pytest.raises(ValueError, match=r"no layer 'stage.2'.*'stage.1'"):
        insert_block(make_host(), 'stage.2', Scale(1.0))


def test_second_block_after_a_layer_is_refused():
    host = make_host()
    insert_block(host, 'stem', Scale(2.0))
    with pytest.raises(ValueError, match="already inserted after 'stem'"):
        insert_block(host, 'stem', Scale(2.0))


def test_sequential_host_is_refused():
    with pytest.raises(TypeError, match='Sequential'):
        insert_block(make_host().stage, '0', Scale(2.0))
