# Published: top-1 88.9 (arXiv 2301.00808, table 13)
_base_ = './convnextv2_h_fcmae_ft_in22k_in1k_384_30e.py'

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1].update(input_size=512)
val_pipeline = _base_.val_dataloader.dataset.pipeline
val_pipeline[1].update(input_size=512)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(accumulative_counts=4)  # 8 GPUs x 16 images x 4 steps
