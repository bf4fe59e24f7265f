_base_ = './detection_steps_runtime.py'
custom_imports = dict(_delete_=True, imports=['mmconvnext', 'mmconvnext.semi.registered'], allow_failed_imports=False)

default_hooks = dict(checkpoint=dict(interval=5000))
