# Published: top-1 86.6 (arXiv 2201.03545, table 1; the authors' README)
_base_ = './convnext_t_in22k_ft_in1k_30e.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='convnext_large.in22k')))
