"""Draws the road from ResNet to ConvNeXt: published accuracy, counted multiply-adds, and results of your trainings."""

from mmconvnext.cli.plot_road import main

if __name__ == '__main__':
    main()
