_base_ = './detection_runtime.py'
custom_imports = dict(_delete_=True, imports=['mmconvnext', 'mmconvnext.semi.registered'], allow_failed_imports=False)

# Counted in steps: a pass over the unlabelled images has no meaning for the labelled ones
log_processor = dict(by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000))
