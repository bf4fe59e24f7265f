"""Converts ConvNeXt weights, V1 or V2, between the names and layouts of the code bases that have them."""

from mmconvnext.cli.convert_checkpoint import main

if __name__ == '__main__':
    main()
