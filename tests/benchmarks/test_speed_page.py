import json

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


def test_a_page_of_a_gpu(tmp_path, monkeypatch) -> None:
    row = {'first_seconds': 12.0, 'spread': 0.01, 'gpu_seconds': 0.0011, 'launches': 300, 'kinds': {'product': 0.001}}
    slow = {**row, 'seconds': 0.004, 'peak': 2**21, 'kinds': {'product': 0.001, 'copy or cast': 0.0001}}
    machine = {'gpu': 'GPU', 'driver': '1.2', 'clocks and power limit': '1980 MHz 700 W'}
    machine |= {'torch': '2.14', 'cudnn': 91000, 'triton': '3.8.0'}
    rows = {'timm': slow, 'timm, CUDA graph': {**row, 'seconds': 0.00123}}
    result = {'model': 'ConvNeXt V1 tiny', 'mode': 'inference', 'dtype': 'amp-bf16', 'input': [2, 3, 512, 512]}
    (tmp_path / 'gpu.json').write_text(json.dumps([{**result, 'rows': rows, 'machine': machine}]))
    monkeypatch.setattr(report, 'RESULTS', tmp_path)
    lines = report.page().splitlines()
    lines = lines[lines.index('## GPU (1980 MHz 700 W), driver 1.2, torch 2.14, cuDNN 91000, Triton 3.8.0') :]
    assert lines[2] == '### ConvNeXt V1 tiny, inference, amp-bf16, 2 x 3 x 512 x 512'
    assert lines[4].split(' | ')[4:] == ['peak, MiB', 'GPU busy, ms', 'launches', 'first step, s |']
    assert lines[6] == '| timm, CUDA graph | 1.23 | 1% | 3.25x |  | 1.10 | 300 | 12.0 |'
    assert lines[7] == '| timm | 4.00 | 1% | 1.00x | 2 | 1.10 | 300 | 12.0 |'
    assert lines[9] == '| GPU ms in kernels of | copy or cast | product |'
    assert lines[11:] == ['| timm, CUDA graph |  | 1.00 |', '| timm | 0.10 | 1.00 |']


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
