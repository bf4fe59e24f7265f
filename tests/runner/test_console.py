import logging

from mmconvnext.runner.console import LISTINGS, hide_pycocotools, only_to_file


def test_listings_stay_in_the_file(tmp_path, capsys):
    logger = logging.Logger('test')
    logger.addHandler(logging.StreamHandler())
    logger.addHandler(logging.FileHandler(tmp_path / 'log'))
    only_to_file(logger, LISTINGS)
    logger.info('Config:\nmodel = dict()')
    logger.info('step 1')
    assert capsys.readouterr().err == 'step 1\n'
    assert (tmp_path / 'log').read_text() == 'Config:\nmodel = dict()\nstep 1\n'


def test_pycocotools_lines_are_set_aside_and_others_are_not(capsys):
    with hide_pycocotools() as figures:
        print('creating index...\na line of my dataset\n Average Recall     (AR) @[ IoU=0.50:0.95 ] = 0.5')
    assert capsys.readouterr().out == 'a line of my dataset\n'
    assert figures == [' Average Recall     (AR) @[ IoU=0.50:0.95 ] = 0.5']
