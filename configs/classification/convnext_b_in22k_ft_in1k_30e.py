# Published: top-1 85.8 (arXiv 2201.03545, table 1; the authors' README)
_base_ = './convnext_t_in22k_ft_in1k_30e.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='convnext_base.in22k')))
