import pytest

from mmconvnext.datasets.mini import DETECTION_CLASSES, SEGMENTATION_CLASSES
from mmconvnext.engine import scale_down
from mmconvnext.engine.config import load_config
from mmconvnext.engine.tree import walk


@pytest.fixture(autouse=True)
def _few_images(monkeypatch):
    monkeypatch.setattr(scale_down, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(scale_down, 'VAL_IMAGES', 4)


def num_classes(cfg):
    return {node.num_classes for node in walk(cfg.model) if 'num_classes' in node}


def test_detector(root, tmp_path):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    full = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    scale_down.scale_down(cfg, tmp_path / 'mini')
    assert num_classes(cfg) == {len(DETECTION_CLASSES)}
    assert cfg.val_dataloader.dataset.metainfo.classes == DETECTION_CLASSES
    assert (tmp_path / 'mini/coco' / cfg.train_dataloader.dataset.ann_file).is_file()
    recipe = scale_down.RECIPES['CascadeRCNN']
    assert cfg.train_cfg.max_epochs == recipe.epochs
    # 8 images: the learning rate drops after the same shares of the schedule as in the full recipe
    steps = recipe.epochs * 8 // recipe.batch_size
    schedule = cfg.param_scheduler[1]
    assert (schedule.by_epoch, schedule.end) == (False, steps)
    assert schedule.milestones == [steps * 27 // 36, steps * 33 // 36]
    assert cfg.auto_scale_lr.base_batch_size == recipe.batch_size
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
    scale_down.scale_down(cfg, tmp_path / 'mini')
    assert num_classes(cfg) == {len(SEGMENTATION_CLASSES)}
    side = round(512 * scale_down.RECIPES['EncoderDecoder'].image_scale)
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
        scale_down.scale_down(cfg, tmp_path / 'mini')
