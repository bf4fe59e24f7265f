# For a training whose length is counted in steps, not epochs
_base_ = './detection_runtime.py'

log_processor = dict(by_epoch=False)
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=9000))
