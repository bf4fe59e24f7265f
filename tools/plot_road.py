"""Draws the road from ResNet to ConvNeXt: published accuracy, multiply-adds counted here, what trainings reached."""

from mmconvnext.cli.plot_road import main

if __name__ == '__main__':
    main()
