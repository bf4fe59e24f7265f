"""Checks COCO annotation files for what MMDetection, its loader and pycocotools do with each record."""
