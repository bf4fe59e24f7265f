"""Evaluates an image classifier: top-1 and top-5 accuracy, beside what the authors published for their weights."""

import os

# By default OpenMP's threads spin while they wait. Beside another busy process on two cores a training step then takes
# four times as long. This must be set before PyTorch is imported
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.cli.evaluate import main

if __name__ == '__main__':
    main()
