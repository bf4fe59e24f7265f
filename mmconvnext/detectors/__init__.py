"""Detectors that differ from MMDetection's. It needs MMDetection, so a config that uses one imports it by name."""

from mmconvnext.detectors.dino import PaperDINO

__all__ = ['PaperDINO']
