"""Transitional: where mmconvnext.engine still imports this from."""

from mmconvnext.checkpoints.fit_detector import fit_detector

__all__ = ['fit_detector']
