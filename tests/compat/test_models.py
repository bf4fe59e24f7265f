"""Parts of MMDetection's and MMSegmentation's models that need mmcv's operators, at toy sizes, a step each."""

import mmdet.models  # noqa: F401  it registers its models
import mmseg.models  # noqa: F401  likewise
import pytest
import torch
from mmdet.registry import MODELS as DETECTION
from mmseg.registry import MODELS as SEGMENTATION

LEVELS = (4, 8, 12)


def gradients(outputs, module):
    """Gradients of all parameters by name, of a loss that every output is in."""
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    sum(out.square().sum() for out in outputs).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert all(grad.isfinite().all() for grad in found.values())
    return found


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_resnet_with_deformable_convolution(kind):
    model = DETECTION.build(
        dict(
            type='ResNet',
            depth=50,
            base_channels=4,
            dcn=dict(type=kind, deform_groups=1, fallback_on_stride=False),
            stage_with_dcn=(False, False, False, True),
        )
    )
    found = gradients(model(torch.randn(2, 3, 64, 96)), model)
    offsets = [grad for name, grad in found.items() if 'conv_offset' in name and name.endswith('weight')]
    assert len(offsets) == 3
    assert all(grad.abs().sum() > 0 for grad in offsets)


def test_pyramid_that_is_assembled_by_carafe():
    neck = DETECTION.build(
        dict(type='FPN_CARAFE', in_channels=list(LEVELS), out_channels=8, num_outs=3, start_level=0, end_level=-1)
    )
    neck.init_weights()
    maps = [torch.randn(1, c, 16 // 2**i, 24 // 2**i) for i, c in enumerate(LEVELS)]
    outs = neck(maps)
    assert [tuple(out.shape) for out in outs] == [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6)]
    found = gradients(outs, neck)
    assert any('upsample' in name and grad.abs().sum() > 0 for name, grad in found.items())


@pytest.mark.parametrize('psa_type', ['collect', 'distribute', 'bi-direction'])
def test_head_with_masks_of_psanet(psa_type):
    head = SEGMENTATION.build(
        dict(
            type='PSAHead',
            in_channels=8,
            channels=4,
            in_index=0,
            mask_size=(5, 7),
            psa_type=psa_type,
            num_classes=3,
            norm_cfg=dict(type='BN'),
        )
    )
    out = head([torch.randn(2, 8, 4, 6)])
    assert out.shape[:2] == (2, 3)
    assert gradients(out, head)


def test_guided_anchors_look_only_where_objects_may_be():
    """Masked convolution is for inference alone; what it computes is what the whole convolution does there."""
    head = DETECTION.build(
        dict(
            type='GARetinaHead',
            num_classes=2,
            in_channels=4,
            stacked_convs=1,
            feat_channels=4,
            approx_anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0], strides=[8]
            ),
            square_anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[4], strides=[8]),
            train_cfg=None,
            test_cfg=dict(),
            loc_filter_thr=0.5,
        )
    ).eval()
    torch.nn.init.normal_(head.conv_loc.weight)
    maps = [torch.randn(1, 4, 8, 12)]
    with torch.no_grad():
        (scores,), (boxes,), _, (location,) = head(maps)
        inside = location.sigmoid()[0, 0] >= 0.5
        assert inside.any()
        assert not inside.all()
        head.train()
        (whole,), (whole_boxes,), _, _ = head(maps)
    torch.testing.assert_close(scores[0, :, inside], whole[0, :, inside])
    torch.testing.assert_close(boxes[0, :, inside], whole_boxes[0, :, inside])
    assert not scores[0, :, ~inside].any()
