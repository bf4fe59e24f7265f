from benchmarks import report, timing

RESULT = {
    'model': 'ConvNeXt V1 tiny',
    'mode': 'training',
    'dtype': 'fp32',
    'input': [1, 3, 64, 96],
    'gemm_limit_seconds': 0.5,
    'rows': {
        "authors' block": {'seconds': 3.0, 'spread': 0.1, 'saved': 2**21},
        'mmconvnext': {'seconds': 1.5, 'spread': 0.02, 'saved': 2**20},
    },
}


def test_a_table_names_the_fastest_first_and_divides_by_the_authors() -> None:
    lines = report.table(RESULT).splitlines()
    assert lines[0] == '### ConvNeXt V1 tiny, training, fp32, 1 x 3 x 64 x 96'
    assert lines[4] == '| mmconvnext | 1500 | 2% | 2.00x | 1 |'
    assert lines[5] == "| authors' block | 3000 | 10% | 1.00x | 2 |"
    assert lines[6] == '| *limit* | 500 | | | |'


def test_a_repeated_run_takes_the_place_of_the_first(tmp_path) -> None:
    path = tmp_path / 'x.json'
    timing.append(path, [RESULT])
    timing.append(path, [{**RESULT, 'mode': 'inference'}, {**RESULT, 'gemm_limit_seconds': 1.0}])
    assert '1.0' in path.read_text()
    assert '0.5,' not in path.read_text().split('inference')[0]


def test_times_are_medians_of_interleaved_rounds(monkeypatch) -> None:
    order, clock = [], iter([0, 1, 10, 12, 20, 23, 30, 34, 40, 45, 50, 56])
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock))
    times = timing.interleaved({'a': lambda: order.append('a'), 'b': lambda: order.append('b')}, 3)
    assert order == ['a', 'b'] * 4  # the first is the warm-up
    assert (times['a'].median, times['b'].median) == (3, 4)
