"""Two processes on the CPU train the toy backbone under DDP."""

import subprocess
import textwrap

import pytest

SCRIPT = textwrap.dedent("""
    import gc, warnings
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from mmconvnext import ConvNeXt

    warnings.simplefilter('error')  # DDP warns of gradients whose strides are not those of its buckets
    dist.init_process_group('gloo')
    toy = dict(depths=(1, 2, 4, 1), widths=(4, 8, 12, 16))
    for version, with_cp, static_graph in [(1, False, False), (2, True, False), (2, True, True)]:
        torch.manual_seed(0)
        model = ConvNeXt(toy, version=version, out_indices=(0, 2), with_cp=with_cp, drop_path_rate=0.1)
        # An unused parameter would raise at the second step
        model = DistributedDataParallel(model, static_graph=static_graph)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.manual_seed(dist.get_rank())
        for _ in range(3):
            optimizer.zero_grad()
            sum(out.square().mean() for out in model(torch.randn(2, 3, 64, 96))).backward()
            optimizer.step()
        weight = model.module.stages[2][3].dwconv.weight.detach().clone()
        other = weight.clone()
        dist.broadcast(other, 0)
        assert torch.equal(weight, other)
        # While the wrapper holds the group, gloo's threads outlive it, and at times abort the interpreter's end
        del model, optimizer
        gc.collect()
        print('trained', version, with_cp, static_graph)
    dist.destroy_process_group()
""")


@pytest.mark.slow
def test_two_processes_stay_equal_without_a_warning(tmp_path, python):
    script = tmp_path / 'train.py'
    script.write_text(SCRIPT)
    command = [python, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', str(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count('trained') == 6
    assert 'strides' not in run.stderr
