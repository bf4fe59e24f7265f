"""Whole detectors and segmentors: those of the authors, of MMDetection's zoo, and of training here."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert, convert_file, load_detector, load_pretrained
from mmconvnext.checkpoints.fit_detector import fit_detector
from mmconvnext.config.neck_and_heads import match_backbone
from tests.conftest import ROOT, TOY

WEIGHT_AND_BIAS = ('weight', 'bias')
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def authors_backbone(depths):
    """Names in object_detection/mmdet/models/backbones/convnext.py and semantic_segmentation/backbone/convnext.py."""
    for i, depth in enumerate(depths):
        for k in (0, 1):
            yield from (f'downsample_layers.{i}.{k}.{p}' for p in WEIGHT_AND_BIAS)
        for j in range(depth):
            yield f'stages.{i}.{j}.gamma'
            for layer in ('dwconv', 'norm', 'pwconv1', 'pwconv2'):
                yield from (f'stages.{i}.{j}.{layer}.{p}' for p in WEIGHT_AND_BIAS)
        yield from (f'norm{i}.{p}' for p in WEIGHT_AND_BIAS)


def plain(*layers):
    return [f'{layer}.{p}' for layer in layers for p in WEIGHT_AND_BIAS]


def with_batch_norm(*layers):
    return [f'{layer}.conv.weight' for layer in layers] + [f'{layer}.bn.{p}' for layer in layers for p in BATCH_NORM]


def detector_parts():
    """Neck and RPN of MMDetection 2, with the authors' settings."""
    fpn = [f'neck.{convs}.{i}.conv' for convs in ('lateral_convs', 'fpn_convs') for i in range(4)]
    return plain(*fpn, 'rpn_head.rpn_conv', 'rpn_head.rpn_cls', 'rpn_head.rpn_reg')


def mask_head(name):
    return plain(*(f'{name}.convs.{i}.conv' for i in range(4)), f'{name}.upsample', f'{name}.conv_logits')


def mask_rcnn():
    head = 'roi_head.bbox_head'
    fcs = plain(f'{head}.shared_fcs.0', f'{head}.shared_fcs.1', f'{head}.fc_cls', f'{head}.fc_reg')
    return [*detector_parts(), *fcs, *mask_head('roi_head.mask_head')]


def cascade_mask_rcnn():
    names = detector_parts()
    for stage in range(3):
        head = f'roi_head.bbox_head.{stage}'
        names += with_batch_norm(*(f'{head}.shared_convs.{i}' for i in range(4)))
        names += plain(f'{head}.shared_fcs.0', f'{head}.fc_cls', f'{head}.fc_reg')
        names += mask_head(f'roi_head.mask_head.{stage}')
    return names


def upernet():
    """Heads of MMSegmentation 0."""
    head = 'decode_head'
    pyramid = [f'{head}.psp_modules.{i}.1' for i in range(4)]
    laterals = [f'{head}.{convs}.{i}' for convs in ('lateral_convs', 'fpn_convs') for i in range(3)]
    convs = with_batch_norm(*pyramid, f'{head}.bottleneck', *laterals, f'{head}.fpn_bottleneck')
    return [*convs, *with_batch_norm('auxiliary_head.convs.0'), *plain(f'{head}.conv_seg', 'auxiliary_head.conv_seg')]


MODELS_OF_THE_AUTHORS = {
    'detection/mask_rcnn_convnext_t_3x.py': mask_rcnn,
    'detection/cascade_convnext_t_3x.py': cascade_mask_rcnn,
    'segmentation/upernet_convnext_t_160k.py': upernet,
}


WIDTHS = (256, 512, 1024)  # of necks and heads


def narrowed(cfg):
    """The config of a model whose neck and heads have a few channels."""
    if isinstance(cfg, dict):
        return {key: 8 if 'channels' in key and value in WIDTHS else narrowed(value) for key, value in cfg.items()}
    return [narrowed(value) for value in cfg] if isinstance(cfg, list) else cfg


def build(path, *, device='cpu', narrow=False, **backbone):
    """The model of a config, with another backbone and narrow heads if need be."""
    cfg = Config.fromfile(ROOT / 'configs' / path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.update(backbone)
    match_backbone(cfg.model)
    model = ConfigDict(narrowed(cfg.model.to_dict())) if narrow else cfg.model
    with torch.device(device):
        return MODELS.build(model)


@pytest.mark.parametrize('path', MODELS_OF_THE_AUTHORS, ids=lambda path: path.split('/')[1].split('_')[0])
def test_authors_names_fill_the_configs_model(path):
    model = build(path, device='meta')
    names = [f'backbone.{n}' for n in authors_backbone((3, 3, 9, 3))] + MODELS_OF_THE_AUTHORS[path]()
    wanted = model.state_dict()
    assert sorted(names) == sorted(wanted)
    # Values matter to the check too, and the meta device has none
    tensors = {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in wanted.items()}
    fit = fit_detector(model, tensors, 'file')
    assert fit.state.keys() == wanted.keys()
    assert not fit.fresh
    assert not fit.left_out
    assert fit.origin == 'source official V1 tiny, unknown licence'


@pytest.fixture(scope='module')
def donor():
    """A toy Mask R-CNN, and its tensors, no two alike."""
    model = build('detection/mask_rcnn_convnext_t_3x.py', narrow=True, arch=TOY)
    return model, {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


@pytest.fixture
def detector(donor):
    model = copy.deepcopy(donor[0])
    model.before = copy.deepcopy(model.state_dict())
    return model


@pytest.fixture
def state(donor):
    return dict(donor[1])


def unchanged(model):
    return all(torch.equal(tensor, model.before[name]) for name, tensor in model.state_dict().items())


def filled(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_file_of_mmdetection_2(detector, state, save, prefix):
    averages = {f'ema_{name.replace(".", "_")}': torch.zeros_like(tensor) for name, tensor in state.items()}
    old = {f'{prefix}{name}': tensor for name, tensor in (state | ({} if prefix else averages)).items()}
    old |= {} if prefix else {'data_preprocessor.mean': torch.zeros(3, 1, 1)}
    report = load_detector(detector, save({'state_dict': old, 'meta': {'mmdet_version': '2.11.0'}}))
    assert filled(detector, state)
    assert f'{len(state)} of {len(state)} tensors, ' in report
    assert 'source official V1' in report
    assert prefix or f'{len(state) + 1} tensors (data_preprocessor.mean, ...) left out' in report


@pytest.mark.parametrize(
    ('root', 'beside'),
    [('model.', 'criterion.weight'), ('module.', 'n_averaged'), ('module.model.', 'steps')],
    ids=['Lightning', 'average of PyTorch', 'average of MMEngine'],
)
@pytest.mark.parametrize('strict', [True, False])
def test_what_stands_before_a_whole_model_is_taken_off(detector, state, save, root, beside, strict):
    file = {f'{root}{name}': tensor for name, tensor in state.items()} | {beside: torch.tensor(9)}
    report = load_detector(detector, save({'state_dict': file}), strict=strict)
    assert filled(detector, state)
    assert f'{len(state)} of {len(state)} tensors, 1 tensor ({beside}) left out' in report


def test_student_and_teacher_are_told_apart_by_conversion(detector, state, save, tmp_path):
    file = {f'student.{name}': tensor + 1 for name, tensor in state.items()}
    file |= {f'teacher.{name}': tensor for name, tensor in state.items()}
    path = save({'state_dict': file})
    with pytest.raises(CheckpointError, match=r'--prefix student\.backbone') as error:
        load_detector(detector, path)
    assert error.value.facts['prefixes'] == ['student.', 'teacher.']
    assert unchanged(detector)
    assert 'left out' in convert_file(path, tmp_path / 'teacher.pth', 'mmconvnext', prefix='teacher.backbone')
    load_detector(detector, tmp_path / 'teacher.pth')
    assert filled(detector, state)


def test_backbone_of_mmpretrain(detector, state, save):
    """As MMDetection's own zoo has it."""
    backbone = {n.removeprefix('backbone.'): t for n, t in state.items() if n.startswith('backbone.')}
    names = {'dwconv': 'depthwise_conv', 'pwconv': 'pointwise_conv'}
    for ours, theirs in names.items():
        backbone = {n.replace(ours, theirs): t for n, t in backbone.items()}
    rest = {n: t for n, t in state.items() if not n.startswith('backbone.')}
    report = load_detector(detector, save({'state_dict': rest | {f'backbone.{n}': t for n, t in backbone.items()}}))
    assert filled(detector, state)
    assert 'source MMPretrain V1' in report


@pytest.mark.parametrize('strict', [True, False])
def test_what_the_backbone_leaves_out_is_said(detector, state, save, strict):
    """Tensors under the backbone's name that its model does not have were dropped without a word."""
    others = {'backbone.mask_token': torch.ones(1), 'backbone.norm.weight': torch.ones(32)}
    report = load_detector(detector, save(state | others), strict=strict)
    assert filled(detector, state)
    assert all(name in report for name in others)


def test_files_without_counts_of_batches(save):
    model = build('segmentation/upernet_convnext_t_160k.py', narrow=True, arch=TOY)
    state = {n: torch.randn_like(t) for n, t in model.state_dict().items() if not n.endswith('num_batches_tracked')}
    assert f'{len(state)} of {len(state)} tensors' in load_detector(model, save(state))
    assert torch.equal(model.decode_head.bottleneck.bn.running_var, state['decode_head.bottleneck.bn.running_var'])


def test_detector_as_source_of_a_backbone(state, save, toy):
    model = ConvNeXt(toy)
    report = load_pretrained(model, save({'state_dict': state}))
    assert torch.equal(model.norm3.weight, state['backbone.norm3.weight'])
    assert 'neck, rpn_head, roi_head left out' in report


def other_classes(state):
    for name in ('roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg', 'roi_head.mask_head.conv_logits'):
        for p in WEIGHT_AND_BIAS:
            state[f'{name}.{p}'] = state[f'{name}.{p}'][:4].clone()


def test_other_classes_stay_fresh_only_if_asked_for(detector, state, save):
    other_classes(state)
    path = save({'state_dict': state})
    with pytest.raises(CheckpointError) as error:
        load_detector(detector, path)
    assert len(error.value.facts['misshapen']) == 6
    assert unchanged(detector)
    report = load_detector(detector, path, strict=False)
    assert f'{len(state) - 6} of {len(state)} tensors, roi_head.bbox_head.fc_cls, ' in report
    assert 'roi_head.bbox_head.fc_reg, roi_head.mask_head.conv_logits fresh, roi_head left out' in report
    assert torch.equal(detector.roi_head.bbox_head.fc_cls.bias, detector.before['roi_head.bbox_head.fc_cls.bias'])
    assert torch.equal(detector.neck.fpn_convs[0].conv.weight, state['neck.fpn_convs.0.conv.weight'])


def drop(prefix):
    return lambda s: [s.pop(name) for name in list(s) if name.startswith(prefix)]


MISFITS = {
    'output norm missing': (drop('backbone.norm1'), dict(missing=['norm1.weight', 'norm1.bias'])),
    'layer scale missing': (drop('backbone.stages.0.0.gamma'), dict(missing=['stages.0.0.gamma'])),
    'neck missing': (
        drop('neck.lateral_convs.0'),
        dict(missing=['neck.lateral_convs.0.conv.bias', 'neck.lateral_convs.0.conv.weight']),
    ),
    'backbone missing': (drop('backbone.'), dict(network=None)),
    'unknown layer': (lambda s: s.update({'bbox_head.x': torch.ones(1)}), dict(unexpected=['bbox_head.x'])),
    'NaN': (lambda s: s['neck.fpn_convs.0.conv.bias'].fill_(float('nan')), dict(tensor='neck.fpn_convs.0.conv.bias')),
}


@pytest.mark.parametrize(('damage', 'facts'), MISFITS.values(), ids=MISFITS)
def test_misfits_change_nothing(detector, state, save, damage, facts):
    state = {name: tensor.clone() for name, tensor in state.items()}
    damage(state)
    with pytest.raises(CheckpointError) as error:
        load_detector(detector, save({'state_dict': state}))
    assert {name: error.value.facts[name] for name in facts} == facts
    assert unchanged(detector)


def test_backbone_alone_is_no_detector(detector, state, save):
    backbone = {n.removeprefix('backbone.'): t for n, t in state.items() if n.startswith('backbone.')}
    path = save({'model': backbone})
    with pytest.raises(CheckpointError, match=f'--pretrained {path}') as error:
        load_detector(detector, path)
    assert error.value.facts['prefix'] == 'backbone.'
    with pytest.raises(CheckpointError) as error:
        load_detector(torch.nn.Linear(1, 1), path)
    assert error.value.facts['model'] == 'Linear'


def test_other_size_is_named(state, save):
    model = build('detection/mask_rcnn_convnext_t_3x.py', narrow=True, arch='atto', device='meta')
    with pytest.raises(CheckpointError) as error:
        load_detector(model, save({'state_dict': state}))
    assert error.value.facts['settings'] == dict(arch=TOY)


def test_conversion_keeps_a_detector_whole(detector, state):
    old = {f'module.{name}': tensor for name, tensor in state.items()}
    converted = convert(old, 'mmconvnext')
    assert converted.state.keys() == state.keys()
    detector.load_state_dict(converted.state)
    assert not converted.left_out
    backbone = convert(old, 'official')
    assert all(name.split('.')[0].rstrip('0123') in ('downsample_layers', 'stages', 'norm') for name in backbone.state)
    assert len(backbone.left_out) == len([name for name in state if not name.startswith('backbone.')])


def test_segmentor_for_a_detector_is_named(detector, state, save):
    """The message was a list of tensors."""
    backbone = {name: tensor for name, tensor in state.items() if name.startswith('backbone.')}
    path = save({'state_dict': backbone | {'decode_head.conv_seg.bias': torch.zeros(3)}})
    with pytest.raises(CheckpointError, match='--pretrained') as error:
        load_detector(detector, path)
    assert (error.value.facts['kind'], error.value.facts['wanted']) == ('a segmentor', 'a detector')
    load_detector(detector, path, strict=False)  # a start for heads of another kind
