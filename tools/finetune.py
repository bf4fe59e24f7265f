"""Fine-tunes or trains an image classifier by the papers' recipes, evaluates it, and leaves curves and pictures."""

import os

# By default OpenMP's threads spin while they wait. Beside another busy process on two cores a training step then takes
# four times as long. This must be set before PyTorch is imported
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.cli.finetune import main

if __name__ == '__main__':
    main()
