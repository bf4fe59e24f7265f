"""Splits a COCO annotation file into a labelled share and unlabelled rest, for trainings with few labels."""

from mmconvnext.cli.split_labels import main

if __name__ == '__main__':
    main()
