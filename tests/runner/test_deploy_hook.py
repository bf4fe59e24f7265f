import logging
from types import SimpleNamespace

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.runner import deploy_hook
from mmconvnext.runner.deploy_hook import DeployHook
from tests.conftest import TOY


@pytest.mark.parametrize('fast', [True, False])
def test_bfloat16_on_a_cpu_without_it_is_said(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deploy_hook, 'can_pack', lambda dtype: fast)
    runner = SimpleNamespace(model=torch.nn.Sequential(ConvNeXt(TOY)), logger=logging.getLogger('deploy'))
    DeployHook('bf16').before_test_epoch(runner)
    assert ('no fast products in bfloat16' in caplog.text) is not fast
    caplog.clear()
    DeployHook('fp32').before_test_epoch(runner)
    assert not caplog.text
