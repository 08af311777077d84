# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The blocks in ``host.inserted_blocks`` run, even if the network is modified."""

import copy
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parallel.replicate import replicate

from selfy_mmaction.models import ResNetTSMSELFY, insert_block


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([factor]))

    def forward(self, x):
        return x * self.factor


class Host(nn.Module):
    """Adds 1, then 2; a block after ``first`` runs in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Add(1.0)
        self.second = Add(2.0)

    def forward(self, x):
        return self.second(self.first(x))


class Add(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor([number]))

    def forward(self, x):
        return x + self.number


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


class Adapter(nn.Module):
    """Like a LoRA layer: adds to the output of the layer that it replaces."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer

    def forward(self, x):
        return self.base_layer(x) + 10


@pytest.fixture
def host() -> Host:
    host = Host()
    insert_block(host, 'first', Scale(3.0))
    assert run(host) == (1 + 1) * 3 + 2
    return host


def run(host: nn.Module) -> float:
    return host(torch.ones(1)).item()


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def test_swapped(host):
    host.inserted_blocks['first'] = Scale(5.0)
    assert run(host) == 2 * 5 + 2


def test_wrapped(host):
    host.inserted_blocks['first'] = Wrapper(host.inserted_blocks['first'])
    assert run(host) == 2 * 3 + 2


@pytest.mark.parametrize('none', [False, True])
def test_removed(host, none):
    if none:
        host.inserted_blocks['first'] = None
    else:
        del host.inserted_blocks['first']
    assert run(host) == 2 + 2


def test_all_removed(host):
    del host.inserted_blocks
    assert run(host) == 2 + 2


def test_inserted_again_after_removal(host):
    del host.inserted_blocks['first']
    insert_block(host, 'first', Scale(7.0))
    assert run(host) == 2 * 7 + 2
    assert len(host.first._forward_hooks) == 1


def test_layer_replaced_by_an_adapter(host):
    host.first = Adapter(host.first)
    assert run(host) == (2 + 10) * 3 + 2


def test_layer_replaced_by_another(host):
    host.first = Add(6.0)
    assert run(host) == (1 + 6) * 3 + 2


def test_layer_removed(host):
    host.stage = nn.Sequential(Add(6.0))
    insert_block(host, 'stage.0', Scale(2.0))
    host.stage = nn.Identity()
    with pytest.raises(RuntimeError, match="'stage.0'.*inserted_blocks\\['stage-0'\\]"):
        run(host)


def test_layer_moved_to_another_name(host):
    host.stage = nn.Sequential(nn.Sequential(Add(6.0)))
    insert_block(host, 'stage.0.0', Scale(2.0))
    host.stage = Wrapper(host.stage)
    host.forward = lambda x: host.stage(x)
    assert run(host) == (1 + 6) * 2


@pytest.mark.parametrize(
    'make_copy',
    [copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host)), copy.copy],
)
def test_copies(host, make_copy):
    copied = make_copy(host)
    assert run(copied) == run(host) == run(copied) == 8
    copied.inserted_blocks['first'] = Scale(5.0)
    shared = make_copy is copy.copy  # a shallow copy shares everything
    assert run(copied) == 12
    assert run(host) == (12 if shared else 8)
    assert len(host.first._forward_hooks) == 1


def test_data_parallel_replicas_run_their_own_block(host):
    # Create replicas like nn.DataParallel on two devices, but on the CPU.
    blocks = [Scale(5.0), Scale(7.0)]
    replicas = [host._replicate_for_data_parallel() for _ in blocks]
    for replica, block in zip(replicas, blocks, strict=True):
        for name in ('first', 'second'):
            layer = getattr(host, name)._replicate_for_data_parallel()
            layer.number = getattr(host, name).number
            setattr(replica, name, layer)
        replica.inserted_blocks = nn.ModuleDict({'first': block})
    assert [run(replica) for replica in replicas] == [2 * 5 + 2, 2 * 7 + 2]
    assert run(host) == 8


def test_data_parallel_on_the_cpu(host):
    assert run(DataParallel(host)) == 8


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two GPUs')
def test_data_parallel_on_gpus(host):
    for replica in replicate(host.cuda(), [0, 1]):
        device = replica.first.number.device
        assert replica(torch.ones(1, device=device)).device == device


def test_fully_sharded(host, process_group):
    for sharded in (host.inserted_blocks['first'], host.first, host):
        fully_shard(sharded, mesh=dist.device_mesh.init_device_mesh('cpu', (1,)))
    out = host(torch.ones(1))
    assert out.item() == 8
    out.backward()
    grad = host.inserted_blocks['first'].factor.grad
    assert grad.full_tensor().item() == 2


def test_fsdp1_layers_and_blocks(host, process_group):
    host.inserted_blocks['first'] = FullyShardedDataParallel(
        host.inserted_blocks['first'], device_id=torch.device('cpu')
    )
    host.first = FullyShardedDataParallel(host.first, device_id=torch.device('cpu'))
    assert run(host) == 8


def test_wrapped_block_receives_num_segments():
    class Ramp(nn.Module):
        def forward(self, x, num_segments=None):
            return x + num_segments

    from selfy_mmaction.models import FeatureLayout

    host = nn.Module()
    host.layer = nn.Identity()
    host.forward = lambda x: host.layer(x)
    insert_block(host, 'layer', Ramp(), FeatureLayout('n t c h w'))
    clips = torch.zeros(2, 5, 1, 1, 1)
    host.inserted_blocks['layer'] = Wrapper(Ramp())
    assert host(clips).unique().item() == 5
    host.inserted_blocks['layer'] = nn.Identity()
    assert host(clips).unique().item() == 0


def small_network() -> ResNetTSMSELFY:
    torch.manual_seed(0)
    block = dict(
        type='SELFYBlock', offsets=(-1, 0, 1), window=(5, 5), reduced_channels=8
    )
    return ResNetTSMSELFY(
        depth=18,
        num_segments=4,
        base_channels=8,
        selfy=dict(after='res3', block=block),
    )


def test_default_strides(tmp_path, process_group, recwarn):
    torch.set_warn_always(True)
    try:
        network = small_network()
        assert all(p.is_contiguous() for p in network.parameters())
        wrapped = DistributedDataParallel(network)
        wrapped(torch.randn(4, 3, 64, 64)).square().mean().backward()
        vector = nn.utils.parameters_to_vector(network.parameters())
        nn.utils.vector_to_parameters(2 * vector, network.parameters())
        for parameter in network.parameters():
            assert parameter.grad.stride() == parameter.stride()
    finally:
        torch.set_warn_always(False)
    assert not [w for w in recwarn if 'strides' in str(w.message)]


def test_fully_sharded_network(process_group):
    network = small_network().eval()
    x = torch.randn(4, 3, 64, 64)
    expected = network(x)
    fully_shard(network, mesh=dist.device_mesh.init_device_mesh('cpu', (1,)))
    torch.testing.assert_close(network(x), expected)


def test_compiled_in_one_graph_after_a_swap(host):
    host.inserted_blocks['first'] = Scale(5.0)
    host.second = Adapter(host.second)
    compiled = torch.compile(host, fullgraph=True, backend='eager')
    assert run(compiled) == 2 * 5 + 2 + 10
    host.inserted_blocks['first'] = Scale(6.0)
    assert run(compiled) == 2 * 6 + 2 + 10


def test_layer_replaced_before_compilation(host):
    host.first = Adapter(host.first)
    compiled = torch.compile(host, backend='eager')
    assert run(compiled) == (2 + 10) * 3 + 2
