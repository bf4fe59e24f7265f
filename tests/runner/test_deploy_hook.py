import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from torch import nn

from mmconvnext.backbones import ConvNeXt, ConvNeXtRoad
from mmconvnext.checkpoints.load import unwrap
from mmconvnext.deploy import DeployedConvNeXt
from mmconvnext.errors import UserError
from mmconvnext.runner import deploy_hook
from mmconvnext.runner.deploy_hook import DeployHook
from tests.conftest import TOY


def fake_runner(model: nn.Module) -> SimpleNamespace:
    return SimpleNamespace(model=model, logger=logging.getLogger('deploy'), test_dataloader=[1, 2])


@pytest.mark.parametrize('fast', [True, False])
def test_bfloat16_on_a_cpu_without_it_is_said(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deploy_hook, 'can_pack', lambda dtype: fast)
    DeployHook('bf16').before_test_epoch(fake_runner(nn.Sequential(ConvNeXt(TOY))))
    assert ('bfloat16' in caplog.text) is not fast
    caplog.clear()
    DeployHook('fp32').before_test_epoch(fake_runner(nn.Sequential(ConvNeXt(TOY))))
    assert not caplog.text


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_every_backbone_is_replaced_and_comes_back_after_the_last_batch() -> None:
    backbone = ConvNeXt(TOY)
    model = Wrapper(nn.ModuleDict(dict(student=backbone, teacher=nn.Sequential(ConvNeXt(TOY)), shared=backbone)))
    hook, runner = DeployHook('fp32'), fake_runner(model)
    hook.before_test_epoch(runner)
    parts = model.module
    assert isinstance(parts['student'], DeployedConvNeXt)
    assert isinstance(parts['teacher'][0], DeployedConvNeXt)
    assert parts['shared'] is parts['student']
    hook.after_test_iter(runner, 0)
    assert isinstance(parts['student'], DeployedConvNeXt)
    hook.after_test_iter(runner, 1)
    assert parts['student'] is parts['shared'] is backbone
    assert isinstance(parts['teacher'][0], ConvNeXt)


def test_a_model_without_a_convnext_is_refused() -> None:
    """--fuse had no effect, and nothing said so."""
    with torch.device('meta'):
        model = nn.Sequential(ConvNeXtRoad('gelu', width=4))
    with pytest.raises(UserError):
        DeployHook('fp32').before_test_epoch(fake_runner(model))


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)
        self.backbone = ConvNeXt(TOY, out_indices=(0,))

    def forward(self, inputs: torch.Tensor, mode: str) -> list[torch.Tensor]:
        self.inputs, self.tested = inputs, type(self.backbone)
        self.out = self.head(self.backbone(inputs)[0])
        return [self.out]


class Augmented(BaseTTAModel):
    def merge_preds(self, data_samples_list: list) -> list:
        return data_samples_list

    def test_step(self, data: dict) -> list[torch.Tensor]:
        return self.module.test_step(data)


class FillAverage(Hook):
    """Gives the model of EMAHook other weights than the model has, as a checkpoint would."""

    priority = 'HIGHEST'

    def __init__(self, average: EMAHook, weights: dict) -> None:
        self.average, self.weights = average, weights

    def before_test(self, runner: Runner) -> None:
        unwrap(self.average.ema_model.module).load_state_dict(self.weights)


@pytest.mark.parametrize('augmented', [False, True])
def test_averaged_weights_are_deployed_and_the_models_own_come_back(augmented: bool, tmp_path) -> None:
    """EMAHook exchanges the parameters of the model before and after a test, in their order."""
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averaged = copy.deepcopy(model).eval().requires_grad_(False)
    for parameter in averaged.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    average = EMAHook()
    runner = Runner(
        model=Augmented(module=model) if augmented else model,
        work_dir=str(tmp_path),
        test_dataloader=dict(
            dataset=[dict(inputs=torch.randn(3, 64, 96))],
            batch_size=1,
            sampler=dict(type='DefaultSampler'),
            collate_fn=dict(type='default_collate'),
        ),
        test_evaluator=[],
        test_cfg=dict(),
        custom_hooks=[average, DeployHook('fp32'), FillAverage(average, averaged.state_dict())],
        default_hooks=dict.fromkeys(
            ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        ),
        experiment_name=f'deploy{augmented}',
    )
    runner.test()
    assert model.tested is DeployedConvNeXt
    torch.testing.assert_close(model.out, averaged.head(averaged.backbone(model.inputs)[0]))
    assert isinstance(model.backbone, ConvNeXt)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
