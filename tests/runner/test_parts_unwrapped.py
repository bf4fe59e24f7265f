from torch import nn

from mmconvnext.runner.quiet_runner import parts_unwrapped


def test_a_checkpoint_has_the_names_without_the_wrappers_of_the_parts():
    """A training of student and teacher in several processes could not be resumed from its own checkpoint."""
    model = nn.Module()
    model.student, model.head = nn.DataParallel(nn.Linear(2, 1)), nn.Linear(2, 1)
    wrapped = model.student
    with parts_unwrapped(model):
        assert list(model.state_dict()) == ['student.weight', 'student.bias', 'head.weight', 'head.bias']
    assert model.student is wrapped
    assert next(iter(model.state_dict())) == 'student.module.weight'
