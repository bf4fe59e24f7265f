import pytest

from mmconvnext.datasets.mini import DETECTION_CLASSES, SEGMENTATION_CLASSES
from mmconvnext.engine import mini
from mmconvnext.engine.config import load_config
from mmconvnext.engine.tree import walk


@pytest.fixture(autouse=True)
def _few_images(monkeypatch):
    monkeypatch.setattr(mini, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(mini, 'VAL_IMAGES', 4)


def num_classes(cfg):
    return {node.num_classes for node in walk(cfg.model) if 'num_classes' in node}


def test_detector(root, tmp_path):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    full = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    mini.scale_down(cfg, tmp_path / 'mini')
    assert num_classes(cfg) == {len(DETECTION_CLASSES)}
    assert cfg.val_dataloader.dataset.metainfo.classes == DETECTION_CLASSES
    assert (tmp_path / 'mini/coco' / cfg.train_dataloader.dataset.ann_file).is_file()
    recipe = mini.RECIPES['CascadeRCNN']
    assert cfg.train_cfg.max_epochs == recipe.epochs
    assert all(m <= recipe.epochs for m in cfg.param_scheduler[1].milestones)
    scales = [n.scales for n in walk(cfg.train_dataloader.dataset) if 'scales' in n]
    assert scales[0][-1] == (round(800 * recipe.image_scale), round(1333 * recipe.image_scale))
    assert {stage.sampler.num for stage in cfg.model.train_cfg.rcnn} == {recipe.rois}
    assert cfg.model.backbone.init_cfg is None
    # The model and its losses are the full recipe's
    for ours, theirs in zip(cfg.model.roi_head.bbox_head, full.model.roi_head.bbox_head):
        assert {k: v for k, v in ours.items() if k != 'num_classes'} == {
            k: v for k, v in theirs.items() if k != 'num_classes'
        }
    assert cfg.model.backbone.arch == 'tiny'


def test_segmentor(root, tmp_path):
    cfg = load_config(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    mini.scale_down(cfg, tmp_path / 'mini')
    assert num_classes(cfg) == {len(SEGMENTATION_CLASSES)}
    side = round(512 * mini.RECIPES['EncoderDecoder'].image_scale)
    assert cfg.model.data_preprocessor.size == (side, side)
    assert cfg.model.test_cfg.crop_size == (side, side)
    assert cfg.param_scheduler[1].end == cfg.train_cfg.max_iters
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        prefix = loader.dataset.data_prefix
        assert (tmp_path / 'mini/ade' / prefix.img_path).is_dir()
        assert (tmp_path / 'mini/ade' / prefix.seg_map_path).is_dir()


def test_unknown_model_is_refused(root, tmp_path):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    cfg.model.type = 'RetinaNet'
    with pytest.raises(ValueError, match='--mini knows MaskRCNN'):
        mini.scale_down(cfg, tmp_path / 'mini')
