_base_ = './default_runtime.py'
default_scope = 'mmengine'
custom_imports = dict(imports=['mmconvnext', 'mmconvnext.classification'], allow_failed_imports=False, _delete_=True)

visualizer = dict(type='ClassVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [dict(type='SkippedImagesHook')]
# All images have one size, for which cuDNN finds its fastest way once
env_cfg = dict(cudnn_benchmark=True)
# Mixup draws one number for a batch: each GPU its own
randomness = dict(seed=None, diff_rank_seed=True)
