import pytest
import torch
from torch import Tensor, nn

from benchmarks.detector import check_equal_losses


class Constant(nn.Module):
    """A model whose loss is always the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def loss(self, inputs: Tensor, samples: list) -> dict[str, Tensor]:
        return {'loss': torch.tensor(self.value)}

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict]:
        return losses['loss'], {}


@pytest.mark.parametrize('wrong', [6.2, float('nan')])
def test_a_contender_with_another_loss_is_refused(wrong: float) -> None:
    models: dict[str, nn.Module] = {'mmconvnext, reference path': Constant(6.0), 'other': Constant(6.001)}
    check_equal_losses(models, torch.zeros(1), [])
    models['wrong'] = Constant(wrong)
    with pytest.raises(ValueError, match=r'wrong: the loss is .*, but with the reference it is 6\.0'):
        check_equal_losses(models, torch.zeros(1), [])
