from mmconvnext.compat.ops.nms import nms, softnms
from mmconvnext.compat.ops.roi_align import roi_align_backward, roi_align_forward
def get_compiler_version(): return 'n'
def get_compiling_cuda_version(): return 'n'
def __getattr__(name):
    if name.startswith('__'): raise AttributeError(name)
    def f(*a, **k): raise NotImplementedError(name)
    return f
