"""Trains a teacher on labelled images, lets it label others, trains students on both: Noisy Student, all rounds."""

from mmconvnext.cli.noisy_student import main

if __name__ == '__main__':
    main()
