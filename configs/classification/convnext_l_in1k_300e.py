# Published: top-1 84.3 (arXiv 2201.03545, table 1)
_base_ = './convnext_t_in1k_300e.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.5))
