import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mmconvnext.checkpoints.fit_detector import fit_detector
from mmconvnext.errors import UserError
from mmconvnext.semi.progress import training_progress
from tests.conftest import ROOT
from tests.semi.teachers import SOFT_TEACHER, at_step, batch_of, build, small_config


@pytest.fixture
def cfg(coco):
    at_step(0, 10)
    # Boxes of a network that has learnt nothing
    return small_config(SOFT_TEACHER, coco, pseudo_label_initial_score_thr=0.1, cls_pseudo_thr=0.15, rpn_pseudo_thr=0.1)


def losses_of(model, batch):
    torch.manual_seed(1)
    data = model.data_preprocessor(copy.deepcopy(batch), training=True)
    return model(**data, mode='loss')


def test_the_teacher_labels_without_drop_path(cfg):
    cfg.model.detector.backbone.drop_path_rate = 0.9
    model = build(cfg)
    images = torch.randn(2, 3, 64, 96)
    assert not any(module.training for module in model.teacher.modules())
    assert model.student.training
    first, second = (model.teacher.extract_feat(images)[0] for _ in range(2))
    assert torch.equal(first, second)
    first, second = (model.student.extract_feat(images)[0] for _ in range(2))
    assert not torch.equal(first, second)
    # MMDetection's, for which this class is
    cfg.model.type = 'SoftTeacher'
    cfg.model.semi_train_cfg.pop('burn_in')
    theirs = MODELS.get('mmdet.SoftTeacher')(**{k: v for k, v in cfg.model.items() if k != 'type'}).train()
    assert theirs.teacher.training


def test_losses_are_mmdetections(cfg):
    model, batch = build(cfg), batch_of(cfg)
    settings = ConfigDict({k: v for k, v in cfg.model.semi_train_cfg.items() if k != 'burn_in'})
    theirs = MODELS.get('mmdet.SoftTeacher')(
        **{k: v for k, v in cfg.model.items() if k not in ('type', 'semi_train_cfg')}, semi_train_cfg=settings
    )
    theirs.load_state_dict(model.state_dict())
    theirs.student.train()
    ours, expected = losses_of(model, batch), losses_of(theirs, batch)
    assert float(ours.pop('unsup_boxes')) > 0
    assert ours.keys() == expected.keys()
    assert {'sup_loss_cls', 'unsup_loss_cls', 'unsup_loss_bbox', 'unsup_loss_rpn_cls'} < ours.keys()
    for name, value in expected.items():
        for one, other in zip(*((v if isinstance(v, list) else [v]) for v in (ours[name], value))):
            assert torch.equal(one, other), name


def test_the_student_learns_from_labels_alone_during_the_burn_in(cfg):
    cfg.model.semi_train_cfg.burn_in = 0.3
    model, batch = build(cfg), batch_of(cfg)
    at_step(2, 10)
    assert {name[:4] for name in losses_of(model, batch)} == {'sup_'}
    at_step(3, 10)
    assert {name[:4] for name in losses_of(model, batch)} == {'sup_', 'unsu'}


def test_without_a_training_there_is_no_progress():
    from mmengine.logging import MessageHub

    MessageHub._instance_dict.clear()
    with pytest.raises(ValueError, match='max_iters'):
        training_progress()


@pytest.mark.parametrize('settings', [dict(burn_in=1.5), dict(burn_in='half'), dict(burn_inn=0.5)])
def test_settings_that_nothing_reads_or_that_are_out_of_range_are_refused(cfg, settings):
    cfg.model.semi_train_cfg.update(settings)
    with pytest.raises(UserError) as error:
        MODELS.build(cfg.model)
    assert next(iter(settings)) in str(error.value)


@pytest.mark.parametrize(
    ('config', 'kind'),
    [
        ('mask_rcnn_convnext_t_3x', 'MaskRCNN'),
        ('cascade_convnext_t_3x', 'CascadeRCNN'),
        ('retinanet_convnext_t_3x', ''),
    ],
)
def test_detectors_that_it_cannot_teach_are_refused(cfg, config, kind):
    from mmengine.config import Config

    cfg.model.detector = Config.fromfile(ROOT / f'configs/detection/{config}.py').model
    with pytest.raises(UserError) as error:
        MODELS.build(cfg.model)
    assert error.value.facts['detector'] == (kind or 'RetinaNet')


def test_layer_decay_is_the_students_and_leaves_the_teacher_out(cfg):
    model = build(cfg)
    cfg.optim_wrapper.type = 'OptimWrapper'
    whole = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    alone = build_optim_wrapper(model.student, cfg.optim_wrapper).optimizer.param_groups
    scales = [
        {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
        for groups in (whole, alone)
    ]
    assert scales[0] == scales[1]
    assert len(scales[0]) == len(list(model.student.parameters()))
    assert min(lr for lr, _ in scales[0].values()) == pytest.approx(1e-4 * 0.95**5)


def test_both_start_from_a_detectors_checkpoint(cfg):
    model = build(cfg)
    detector = {f'module.{name}': torch.randn_like(t) for name, t in model.student.state_dict().items()}
    plan = fit_detector(model, detector, 'detector.pth', strict=True)
    model.load_state_dict(plan.state)
    for part in (model.student, model.teacher):
        for name, tensor in part.state_dict().items():
            assert torch.equal(tensor, detector[f'module.{name}']), name
    # Its own checkpoint is loaded as it is
    own = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    assert all(torch.equal(tensor, own[name]) for name, tensor in fit_detector(model, own, 'own.pth').state.items())


def test_batches_have_both_kinds_of_images(cfg):
    cfg.train_dataloader.update(batch_size=5)
    for _, batch in zip(range(3), Runner.build_dataloader(cfg.train_dataloader, seed=0)):
        assert [image is not None for image in batch['inputs']['sup']] == [True] + 4 * [False]
        weak, strong = (batch['data_samples'][name][1:] for name in ('unsup_teacher', 'unsup_student'))
        assert [sample.img_id for sample in weak] == [sample.img_id for sample in strong]
        assert all(len(sample.gt_instances) == 0 for sample in weak)
