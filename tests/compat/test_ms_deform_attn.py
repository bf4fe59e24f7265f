import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction


def by_hand(value, shapes, locations, weights):
    """Bilinear sampling written out for each query, head, level and point; outside a level is 0."""
    batch, _, heads, channels = value.shape
    queries, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
    rows = []
    for b, q, h in torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads))).tolist():
        total, start = torch.zeros(channels, dtype=value.dtype), 0
        for level in range(levels):
            height, width = shapes[level]
            keys = value[b, start : start + height * width, h].reshape(height, width, channels)
            start += height * width
            for p in range(points):
                x = locations[b, q, h, level, p, 0] * width - 0.5
                y = locations[b, q, h, level, p, 1] * height - 0.5
                x0, y0 = int(x.floor()), int(y.floor())
                for i, j in ((y0, x0), (y0, x0 + 1), (y0 + 1, x0), (y0 + 1, x0 + 1)):
                    if 0 <= i < height and 0 <= j < width:
                        share = (1 - (y - i).abs()) * (1 - (x - j).abs())
                        total = total + weights[b, q, h, level, p] * share * keys[i, j]
        rows.append(total)
    return torch.stack(rows).reshape(batch, queries, heads * channels)


def test_output_and_gradients_are_the_papers():
    shapes = [(3, 4), (2, 3)]
    value = torch.randn(2, 18, 2, 5, dtype=torch.double, requires_grad=True)
    locations = torch.empty(2, 3, 2, 2, 4, 2, dtype=torch.double).uniform_(-0.2, 1.2).requires_grad_()
    weights = torch.rand(2, 3, 2, 2, 4, dtype=torch.double, requires_grad=True)
    output = MultiScaleDeformableAttnFunction.apply(
        value, torch.tensor(shapes), torch.tensor([0, 12]), locations, weights, 64
    )
    expected = by_hand(value, shapes, locations, weights)
    torch.testing.assert_close(output, expected)
    seed = torch.randn_like(output)
    inputs = (value, locations, weights)
    for ours, theirs in zip(torch.autograd.grad(output, inputs, seed), torch.autograd.grad(expected, inputs, seed)):
        torch.testing.assert_close(ours, theirs)
