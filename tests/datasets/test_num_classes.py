import pytest
from mmengine.config import Config

from mmconvnext.datasets.num_classes import check_num_classes, class_counts

KEYS = {
    'detection/faster_rcnn_convnext_t_3x': ['roi_head.bbox_head'],
    'detection/mask_rcnn_convnext_t_3x': ['roi_head.bbox_head', 'roi_head.mask_head'],
    'detection/cascade_convnext_t_3x': [*(f'roi_head.bbox_head.{i}' for i in range(3)), 'roi_head.mask_head'],
    'detection/cascade_rcnn_convnext_t_3x': [f'roi_head.bbox_head.{i}' for i in range(3)],
    'detection/retinanet_convnext_t_3x': ['bbox_head'],
    'detection/dino_convnext_t_1x': ['bbox_head'],
    'segmentation/upernet_convnext_t_160k': ['decode_head', 'auxiliary_head'],
}


@pytest.mark.parametrize('name', KEYS)
def test_every_head_is_found_and_its_key_sets_it(root, name):
    cfg = Config.fromfile(root / f'configs/{name}.py')
    keys = [f'model.{key}.num_classes' for key in KEYS[name]]
    assert sorted(class_counts(cfg.model)) == sorted(keys)
    with pytest.raises(ValueError, match='do not have the number of classes of the_dataset, 2') as error:
        check_num_classes(cfg.model, ('a', 'b'), 'the_dataset')
    for key in keys:
        assert f'{key}=2' in str(error.value)
    cfg.merge_from_dict(dict.fromkeys(keys, 2))
    check_num_classes(cfg.model, ('a', 'b'), 'the_dataset')


def test_one_head_of_several(root):
    model = Config.fromfile(root / 'configs/detection/cascade_convnext_t_3x.py').model
    model.roi_head.bbox_head[1].num_classes = 5
    with pytest.raises(ValueError, match=r'model\.roi_head\.bbox_head\.1\.num_classes is 5\n') as error:
        check_num_classes(model, [str(i) for i in range(80)], 'the_dataset')
    assert 'bbox_head.0.num_classes is' not in str(error.value)


def test_rpn_has_classes_of_its_own():
    cfg = Config(dict(model=dict(rpn_head=dict(num_classes=1), roi_head=dict(semantic_head=dict(num_classes=183)))))
    assert class_counts(cfg.model) == {}


def test_one_output_needs_a_sigmoid(root):
    """The loss raised an IndexError: Target 1 is out of bounds."""
    model = Config.fromfile(root / 'configs/segmentation/upernet_convnext_t_160k.py').model
    for head in (model.decode_head, model.auxiliary_head):
        head.update(num_classes=2, out_channels=1)
        head.loss_decode.use_sigmoid = True
    check_num_classes(model, ('background', 'road'), 'the_dataset')
    model.auxiliary_head.loss_decode.use_sigmoid = False
    with pytest.raises(ValueError, match=r'model\.auxiliary_head\.out_channels is 1'):
        check_num_classes(model, ('background', 'road'), 'the_dataset')
