"""Converts ConvNeXt V1 and V2 checkpoints between the names and layouts of different code bases."""

from mmconvnext.cli.convert_checkpoint import main

if __name__ == '__main__':
    main()
