# Published: top-1 85.5 (arXiv 2201.03545, table 1). It starts from averaged weights, unlike base
_base_ = './convnext_b_in1k_384_30e.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.95))
load_from = 'convnext_large.in1k_ema'
