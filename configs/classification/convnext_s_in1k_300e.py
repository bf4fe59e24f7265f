# Published: top-1 83.1 (arXiv 2201.03545, table 1)
_base_ = './convnext_t_in1k_300e.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.4))
