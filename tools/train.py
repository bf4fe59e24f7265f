"""Trains a detector or a segmentor, evaluates it, and leaves its curves and pictures in the work directory."""

import os

# By default OpenMP's threads spin while they wait. Beside another busy process on two cores a training step then takes
# four times as long. This must be set before PyTorch is imported
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.cli.train import main

if __name__ == '__main__':
    main()
