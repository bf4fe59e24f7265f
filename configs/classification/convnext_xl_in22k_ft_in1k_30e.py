# Published: top-1 87.0 (arXiv 2201.03545, table 1; the authors' README). Averaged weights, unlike the other sizes
_base_ = './convnext_t_in22k_ft_in1k_30e.py'

model = dict(backbone=dict(arch='xlarge', drop_path_rate=0.4, init_cfg=dict(checkpoint='convnext_xlarge.in22k')))
custom_hooks = [dict(type='StepEMAHook', momentum=1e-4), dict(type='SkippedImagesHook')]
