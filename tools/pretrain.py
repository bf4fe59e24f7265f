"""Pre-trains a backbone on images without labels, and leaves curves and reconstructions in the work directory."""

import os

# By default OpenMP's threads spin while they wait. Beside another busy process on two cores a training step then takes
# four times as long. This must be set before PyTorch is imported
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.cli.pretrain import main

if __name__ == '__main__':
    main()
