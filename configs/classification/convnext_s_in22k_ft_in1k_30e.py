# Published: top-1 84.6 (arXiv 2201.03545, table 1; the authors' README)
_base_ = './convnext_t_in22k_ft_in1k_30e.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=dict(checkpoint='convnext_small.in22k')))
