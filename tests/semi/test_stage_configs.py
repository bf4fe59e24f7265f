"""The configs of the stages: what the teacher labels, and what a student's batches are made of."""

import copy
import json
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner

from mmconvnext.backbones.layers import DropPath
from mmconvnext.config.data_root import set_data_root
from mmconvnext.config_tree import walk
from mmconvnext.datasets import mini
from mmconvnext.errors import UserError
from mmconvnext.semi.pseudo_labels import Selection, write_labels
from mmconvnext.semi.settings import settings_of
from mmconvnext.semi.stage_configs import predict_on, train_on, write_unlabelled
from tests.semi.conftest import CONFIGS

TEACHER, STUDENT = (
    CONFIGS / f'{name}.py' for name in ('mask_rcnn_convnext_t_10p', 'noisy_student_mask_rcnn_convnext_t_10p')
)


def config(path, coco):
    cfg = Config.fromfile(path)
    set_data_root(cfg, coco)
    for node in walk([cfg.train_dataloader, cfg.test_dataloader, cfg.get('noisy_student')]):
        if 'ann_file' in node:
            node.ann_file = node.ann_file.replace('1@10', '1@40')
        if node.get('type') == 'CocoDataset':
            node.metainfo = dict(classes=mini.DETECTION_CLASSES)
            node.filter_cfg = dict(filter_empty_gt=False)
        for key, value in dict(scales=[(128, 96)], scale=(128, 96), crop_size=(48, 64)).items():
            if key in node:
                node[key] = value
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    return cfg


@pytest.fixture
def student(coco):
    return config(STUDENT, coco)


@pytest.fixture
def teacher(coco):
    return config(TEACHER, coco)


@pytest.fixture
def settings(student):
    return settings_of(student)


@pytest.fixture
def pseudo(teacher, settings, coco, tmp_path, read):
    """The true labels of the images without, as a perfect teacher would predict them."""
    write_unlabelled(teacher, settings, tmp_path / 'unlabelled.json')
    images = {image['id'] for image in read(tmp_path / 'unlabelled.json')['images']}
    truth = read(coco / 'annotations/instances_train2017.json')['annotations']
    found = [{**one, 'score': 1.0} for one in truth if one['image_id'] in images and not one['iscrowd']]
    (tmp_path / 'results.json').write_text(json.dumps(found))
    path = tmp_path / 'pseudo_labels.json'
    write_labels(tmp_path / 'unlabelled.json', tmp_path / 'results.json', Selection(0.5), path)
    return path


def test_the_images_without_labels_get_the_categories(teacher, settings, coco, tmp_path, read):
    source = tmp_path / 'image_info_unlabeled2017.json'  # COCO's own has no categories
    content = read(coco / 'semi_anns/instances_train2017.1@40-unlabeled.json')
    del content['categories'], content['annotations']
    source.write_text(json.dumps(content))
    path = tmp_path / 'unlabelled.json'
    assert write_unlabelled(teacher, replace(settings, ann_file=str(source)), path) == 6
    written = read(path)
    assert written['images'] == content['images']
    assert written['categories'] == read(coco / 'annotations/instances_train2017.json')['categories']
    assert written['annotations'] == []


@pytest.mark.parametrize(
    ('change', 'fact'),
    [
        (lambda content: content.update(categories=[dict(id=1, name='cat')]), 'path'),
        (lambda content: content.update(images=[]), 'path'),
        (lambda content: content.pop('images'), 'missing'),
    ],
    ids=['other categories', 'no image', 'no list of images'],
)
def test_a_list_that_does_not_fit_is_refused(teacher, settings, coco, tmp_path, read, change, fact):
    content = read(coco / 'semi_anns/instances_train2017.1@40-unlabeled.json')
    change(content)
    source = tmp_path / 'list.json'
    source.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        write_unlabelled(teacher, replace(settings, ann_file=str(source)), tmp_path / 'unlabelled.json')
    assert caught.value.facts['path'] == source
    assert fact in caught.value.facts
    assert not (tmp_path / 'unlabelled.json').exists()


def test_a_threshold_of_no_class_is_refused_before_any_training(teacher, settings, tmp_path):
    wrong = replace(settings, selection=Selection(dict(cat=0.5)))
    with pytest.raises(UserError) as caught:
        write_unlabelled(teacher, wrong, tmp_path / 'unlabelled.json')
    assert caught.value.facts['unknown'] == ['cat']


def test_a_list_that_is_not_there_is_named(teacher, settings, coco, tmp_path):
    missing = replace(settings, ann_file='semi_anns/instances_train2017.9@10-unlabeled.json')
    with pytest.raises(UserError, match='split_labels') as caught:
        write_unlabelled(teacher, missing, tmp_path / 'unlabelled.json')
    assert caught.value.facts['path'] == coco / missing.ann_file


def test_the_teacher_labels_without_noise(teacher, settings, tmp_path):
    write_unlabelled(teacher, settings, tmp_path / 'unlabelled.json')
    before = copy.deepcopy(teacher.to_dict())
    test = predict_on(teacher, settings, tmp_path / 'unlabelled.json', tmp_path / 'results')
    assert teacher.to_dict() == before
    names = [transform['type'] for transform in test.test_dataloader.dataset.pipeline]
    assert names == ['LoadImageFromFile', 'Resize', 'PackDetInputs']
    assert test.test_evaluator.format_only
    init_default_scope('mmdet')
    dataset = DATASETS.build(test.test_dataloader.dataset)
    assert len(dataset) == 6
    assert torch.equal(dataset[0]['inputs'], dataset[0]['inputs'])
    # Drop path and the like are the identity in a test, whatever the training has
    teacher.model.backbone.update(arch=dict(depths=(1, 1, 1, 1), widths=(4, 8, 12, 16)), init_cfg=None)
    backbone = MODELS.build(teacher.model.backbone)
    assert any(isinstance(module, DropPath) for module in backbone.modules())
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        once, again = backbone.eval()(images), backbone.eval()(images)
        noisy = [backbone.train()(images)[-1] for _ in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(once, again))
    assert any(not torch.equal(noisy[0], other) for other in noisy[1:])


@pytest.mark.parametrize(('ratio', 'batch_size'), [((1, 1), 4), ((1, 3), 4), ((1, 1), 2)])
def test_each_batch_has_both_kinds_in_the_ratio(student, settings, pseudo, coco, read, ratio, batch_size):
    student.train_dataloader.batch_size = batch_size
    cfg = train_on(student, replace(settings, batch_ratio=ratio), pseudo)
    assert 'noisy_student' in student
    assert 'noisy_student' not in cfg
    init_default_scope('mmdet')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    labelled = {image['id'] for image in read(coco / 'semi_anns/instances_train2017.1@40.json')['images']}
    others = {image['id'] for image in read(pseudo)['images']}
    assert not labelled & others
    seen = set()
    for batch in islice(loader, 8):
        ids = [sample.img_id for sample in batch['data_samples']]
        assert len(ids) == batch_size
        assert sum(i in labelled for i in ids) * sum(ratio) == batch_size * ratio[0]
        assert all(i in labelled | others for i in ids)
        seen |= {*ids}
    assert seen & others
    assert len(seen & labelled) > 1


def test_the_students_images_are_noisier_than_the_teachers(student, teacher, settings, pseudo):
    cfg = train_on(student, settings, pseudo)
    names = [[t['type'] for t in pipeline] for pipeline in (_pipeline(cfg, 0), _pipeline(cfg, 1), _pipeline(teacher))]
    assert names[0] == names[1]
    assert [name for name in names[0] if name not in names[2]] == ['RandAugment', 'RandomErasing', 'FilterAnnotations']
    assert student.model.backbone.drop_path_rate > teacher.model.backbone.drop_path_rate


def _pipeline(cfg, index=None):
    dataset = cfg.train_dataloader.dataset
    dataset = dataset if index is None else dataset.datasets[index]
    return dataset.get('dataset', dataset).pipeline


def test_images_of_rare_classes_are_repeated(student, settings, pseudo, read):
    init_default_scope('mmdet')
    sizes = []
    for threshold in (0.0, 1.0):
        cfg = train_on(student, replace(settings, oversample_thr=threshold), pseudo)
        sizes.append(len(DATASETS.build(cfg.train_dataloader.dataset).datasets[1]))
    content = read(pseudo)
    classes = {image['id']: set() for image in content['images']}
    for annotation in content['annotations']:
        classes[annotation['image_id']].add(annotation['category_id'])
    share = {c: sum(c in of_image for of_image in classes.values()) / len(classes) for c in range(1, 6)}
    # LVIS: the largest sqrt(threshold / share) of an image's classes; ClassBalancedDataset rounds it up
    repeats = [math.ceil(max(math.sqrt(1 / share[c]) for c in of_image)) for of_image in classes.values()]
    assert sizes == [len(classes), sum(repeats)]
    assert len({*repeats}) > 1


def test_a_batch_that_cannot_be_divided_is_refused(student, settings, pseudo):
    student.train_dataloader.batch_size = 3
    with pytest.raises(UserError) as caught:
        train_on(student, settings, pseudo)
    assert caught.value.facts == dict(batch_size=3, ratio=(1, 1))


def test_a_length_in_epochs_is_refused(student, settings, pseudo):
    student.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
    with pytest.raises(UserError) as caught:
        train_on(student, settings, pseudo)
    assert caught.value.facts['key'] == 'train_cfg.max_iters'


def test_a_dataset_of_several_is_refused(student, settings, pseudo):
    cfg = train_on(student, settings, pseudo)
    with pytest.raises(UserError) as caught:
        train_on(cfg, settings, pseudo)
    assert caught.value.facts['key'] == 'train_dataloader.dataset'
