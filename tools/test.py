"""Evaluates a checkpoint: box and mask AP of a detector, mIoU, mAcc and aAcc of a segmentor."""

import os

# By default OpenMP's threads spin while they wait. Beside another busy process on two cores a training step then takes
# four times as long. This must be set before PyTorch is imported
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.cli.test import main

if __name__ == '__main__':
    main()
