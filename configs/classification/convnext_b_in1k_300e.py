# Published: top-1 83.8 (arXiv 2201.03545, table 1)
_base_ = './convnext_t_in1k_300e.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.5))
