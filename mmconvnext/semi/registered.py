"""What configs of SoftTeacher and Meta Pseudo Labels name. It needs MMDetection, so they import it themselves."""

from mmconvnext.semi.distributed import StudentTeacherDistributed
from mmconvnext.semi.mean_teacher import RelativeMeanTeacherHook
from mmconvnext.semi.meta_pseudo_labels import MetaPseudoLabels
from mmconvnext.semi.sampler import LabelledAndUnlabelledSampler
from mmconvnext.semi.soft_teacher import EvalSoftTeacher
from mmconvnext.semi.two_optimizers import StudentTeacherOptimWrapperConstructor

__all__ = [
    'EvalSoftTeacher',
    'LabelledAndUnlabelledSampler',
    'MetaPseudoLabels',
    'RelativeMeanTeacherHook',
    'StudentTeacherDistributed',
    'StudentTeacherOptimWrapperConstructor',
]
