import copy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError
from tests.conftest import ROOT
from tests.semi.teachers import META, at_step, batch_of, build, small_config


@pytest.fixture
def cfg(coco):
    # Boxes of a network that has learnt nothing
    cfg = small_config(META, coco, pseudo_thr=0.15, student_wait=0.2, finetune=0.2, consistency_ramp=0.8)
    cfg.optim_wrapper.type = 'OptimWrapper'
    return cfg


def optimizers(model, cfg):
    wrappers = build_optim_wrapper(model, cfg.optim_wrapper)
    assert isinstance(wrappers, OptimWrapperDict)
    return wrappers


def weights(part):
    return {name: tensor.clone() for name, tensor in part.state_dict().items()}


def differs(part, before):
    return any(not torch.equal(tensor, before[name]) for name, tensor in part.state_dict().items())


@pytest.mark.parametrize(
    ('step', 'student', 'teacher'), [(1, False, True), (2, True, True), (7, True, True), (8, True, False)]
)
def test_who_learns_when(cfg, step, student, teacher):
    model, batch = build(cfg), batch_of(cfg)
    wrappers = optimizers(model, cfg)
    before = weights(model.student), weights(model.teacher)
    at_step(step, 10)
    logged = model.train_step(batch, wrappers)
    assert (differs(model.student, before[0]), differs(model.teacher, before[1])) == (student, teacher)
    assert ('reward' in logged) == (student and teacher)
    assert all(value.isfinite() for value in logged.values())
    assert model.student.training
    assert model.teacher.training


def test_the_losses_are_those_of_the_docstring(cfg):
    cfg.model.semi_train_cfg.update(consistency_weight=0.5, feedback_weight=100.0)
    for node in walk(cfg.model.detector.train_cfg):
        if 'pos_fraction' in node:
            node.num = 100_000  # all anchors and proposals, and no draw among them
    model, batch = build(cfg), batch_of(cfg)
    wrappers = optimizers(model, cfg)
    labelled = []
    original = model.labelled_loss
    model.labelled_loss = lambda *args: labelled.append(original(*args)) or labelled[-1]
    model.meta_reward.baseline.fill_(0.25)
    at_step(4, 10)
    before = weights(model.teacher)
    logged = model.train_step(copy.deepcopy(batch), wrappers)
    assert float(logged['pseudo_boxes']) > 0
    assert len(labelled) == 2
    assert labelled[0] != labelled[1]
    assert logged['reward'] == labelled[0] - labelled[1]
    assert float(logged['feedback']) == pytest.approx(float(labelled[0] - labelled[1]) - 0.25, abs=1e-6)
    # The teacher's own losses, from the same boxes, by hand; half of the ramp of 0.8 has passed
    model.teacher.load_state_dict(before)
    data = model.data_preprocessor(copy.deepcopy(batch), training=True)
    images, samples = data['inputs'], data['data_samples']
    weak, strong = model.label(images['unsup_teacher'], samples['unsup_teacher'], samples['unsup_student'])
    with torch.no_grad():
        own = model.parse_losses(model.teacher.loss(images['unsup_teacher'], weak))[0]
        other = model.parse_losses(model.teacher.loss(images['unsup_student'], strong))[0]
        truth = model.parse_losses(model.teacher.loss(images['sup'], samples['sup']))[0]
    assert float(logged['teacher_loss_feedback']) == pytest.approx(100 * float(logged['feedback'] * own), rel=1e-4)
    assert float(logged['teacher_loss_labelled']) == pytest.approx(float(truth), rel=1e-4)
    assert float(logged['teacher_loss_consistency']) == pytest.approx(0.5 * 0.5 * float(other), rel=1e-4)
    terms = [logged[f'teacher_loss_{name}'] for name in ('labelled', 'consistency', 'feedback')]
    assert float(logged['loss']) == pytest.approx(float(sum(terms) + logged['student_loss']), rel=1e-5)


def test_a_student_that_stands_still_gets_no_reward(cfg):
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.model.detector.backbone.drop_path_rate = 0.5
    model, batch = build(cfg), batch_of(cfg)
    at_step(4, 10)
    assert float(model.train_step(batch, optimizers(model, cfg))['reward']) == 0.0


def test_the_labelled_loss_is_the_same_for_the_same_weights_and_seed(cfg):
    cfg.model.detector.backbone.drop_path_rate = 0.5
    model, batch = build(cfg), batch_of(cfg)
    data = model.data_preprocessor(batch, training=True)
    images, samples = data['inputs']['sup'], data['data_samples']['sup']
    state = torch.get_rng_state()
    losses = [float(model.labelled_loss(images, samples, seed)) for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), state)
    assert model.student.training
    with torch.no_grad():  # which differs otherwise
        assert len({float(model.parse_losses(model.student.loss(images, samples))[0]) for _ in range(2)}) == 2


class Finder:
    """In place of a teacher: finds the given boxes."""

    training = True

    def __init__(self, boxes, scores):
        self.found = InstanceData(
            bboxes=torch.tensor(boxes), scores=torch.tensor(scores), labels=torch.arange(len(scores))
        )

    def eval(self):
        self.training = False

    def train(self, mode):
        self.training = mode

    def predict(self, images, samples, rescale):
        assert not rescale
        assert not self.training
        return [DetDataSample(pred_instances=self.found.clone()) for _ in samples]


def view(homography, shape):
    meta = dict(homography_matrix=np.array(homography, np.float32), img_shape=shape, ori_shape=(64, 96))
    return DetDataSample(metainfo=meta)


def test_both_views_have_the_boxes_in_their_own_pixels(cfg):
    model = build(cfg)
    model._modules.pop('teacher')
    model.teacher = finder = Finder([[20.0, 10, 60, 30], [2.0, 2, 8, 8], [1.0, 1, 9, 9]], [0.9, 0.2, 0.1])
    # The weak view is twice as large; the strong one is the file's, mirrored and moved left by 70 pixels
    weak = view([[2, 0, 0], [0, 2, 0], [0, 0, 1]], (128, 192))
    strong = view([[-1, 0, 96 - 70], [0, 1, 0], [0, 0, 1]], (64, 96))
    (labelled,), (other,) = model.label(torch.zeros(1, 3, 128, 192), [weak], [strong])
    assert labelled.gt_instances.bboxes.tolist() == [[20, 10, 60, 30], [2, 2, 8, 8]]
    # x: 10 to 30 in the file, so 66 to 86 mirrored, so -4 to 16 moved, so 0 to 16 in the image
    assert other.gt_instances.bboxes.tolist() == pytest.approx(np.array([[0, 5, 16, 15], [22, 1, 25, 4]]))
    assert other.gt_instances.labels.tolist() == [0, 1]
    assert finder.training
    gone = view([[1, 0, -500], [0, 1, 0], [0, 0, 1]], (64, 96))
    _, (other,) = model.label(torch.zeros(1, 3, 128, 192), [weak], [gone])
    assert len(other.gt_instances) == 0


def test_nothing_is_learnt_from_images_about_which_the_teacher_is_silent(cfg):
    cfg.model.semi_train_cfg.pseudo_thr = 1.0
    model, batch = build(cfg), batch_of(cfg)
    at_step(4, 10)
    logged = model.train_step(batch, optimizers(model, cfg))
    assert float(logged['pseudo_boxes']) == 0
    for name in ('student_loss', 'teacher_loss_feedback', 'teacher_loss_consistency'):
        assert float(logged[name]) == 0
    assert float(logged['teacher_loss_labelled']) > 0


@pytest.mark.parametrize(
    'settings',
    [
        dict(pseudo_thr=1.5),
        dict(consistency_weight=-1),
        dict(feedback='no'),
        dict(student_wait=0.7, finetune=0.3),
        dict(freeze_teacher=True),
    ],
)
def test_wrong_settings_are_refused(cfg, settings):
    cfg.model.semi_train_cfg.update(settings)
    with pytest.raises(UserError) as error:
        MODELS.build(cfg.model)
    assert next(iter(settings)) in str(error.value)


def test_masks_are_refused(cfg):
    cfg.model.detector = Config.fromfile(ROOT / 'configs/detection/mask_rcnn_convnext_t_3x.py').model
    with pytest.raises(UserError) as error:
        MODELS.build(cfg.model)
    assert error.value.facts['detector'] == 'MaskRCNN'


def test_one_optimizer_is_refused(cfg):
    model, batch = build(cfg), batch_of(cfg)
    cfg.optim_wrapper.constructor = 'LayerDecayOptimWrapperConstructor'
    with pytest.raises(UserError, match='StudentTeacherOptimWrapperConstructor'):
        model.train_step(batch, build_optim_wrapper(model, cfg.optim_wrapper))


def test_each_part_has_an_optimizer_with_layer_decay(cfg):
    model = build(cfg)
    wrappers = optimizers(model, cfg)
    for name, wrapper in wrappers.items():
        part = getattr(model, name)
        cfg.optim_wrapper.constructor = 'LayerDecayOptimWrapperConstructor'
        alone = build_optim_wrapper(part, cfg.optim_wrapper).optimizer.param_groups
        groups = wrapper.optimizer.param_groups
        assert [(g['lr'], g['weight_decay']) for g in groups] == [(g['lr'], g['weight_decay']) for g in alone]
        assert {id(p) for g in groups for p in g['params']} == {id(p) for p in part.parameters()}
    assert set(wrappers.keys()) == {'student', 'teacher'}


def test_gradients_are_not_accumulated(cfg):
    model = build(cfg)
    cfg.optim_wrapper.accumulative_counts = 2
    with pytest.raises(UserError) as error:
        build_optim_wrapper(model, cfg.optim_wrapper)
    assert error.value.facts['key'] == 'optim_wrapper.accumulative_counts'


def test_an_optimizer_for_a_model_without_both_is_refused(cfg):
    model = build(cfg)
    with pytest.raises(UserError, match='student and no teacher'):
        build_optim_wrapper(model.student, cfg.optim_wrapper)
