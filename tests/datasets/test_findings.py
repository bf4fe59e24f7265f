import pytest

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import EXAMPLES, Findings, Severity


def test_a_kind_is_counted_for_each_file_and_keeps_the_first_examples():
    findings = Findings()
    for index in range(5):
        findings.add('area', Severity.LEFT_OUT, 'a.json', 'annotations have area 0', example=f'[{index}]', total=9)
    findings.add('area', Severity.LEFT_OUT, 'b.json', 'annotations have area 0', example='[7]')
    first, second = findings.of('area')
    assert (first.count, first.total, first.examples) == (5, 9, [f'[{i}]' for i in range(EXAMPLES)])
    assert (second.file, second.count, len(findings)) == ('b.json', 1, 2)
    assert '5 of 9 annotations have area 0: [0]; [1]; [2] and 2 more' in str(first)


def test_the_worst_comes_first_and_what_refuses_is_not_in_the_table():
    findings = Findings()
    findings.add('crowd', Severity.CHANGES, 'a.json', 'annotations are crowds')
    findings.add('size', Severity.REFUSES, 'a.json', 'images have no size')
    assert [finding.kind for finding in findings] == ['size', 'crowd']
    assert 'crowds' in findings.table()
    assert 'size' not in findings.table()


@pytest.mark.parametrize('kinds', [('size',), ('size', 'box')])
def test_what_refuses_ends_the_run_and_all_of_it_is_said(kinds):
    findings = Findings()
    for kind in kinds:
        findings.add(kind, Severity.REFUSES, 'a.json', f'records have no {kind}')
    with pytest.raises(DataError) as error:
        findings.refuse()
    assert [finding.kind for finding in error.value.facts['findings']] == list(kinds)
    assert all(f'no {kind}' in str(error.value) for kind in kinds)


def test_nothing_refuses_where_everything_can_run():
    findings = Findings()
    findings.refuse()
    findings.add('crowd', Severity.CHANGES, 'a.json', 'annotations are crowds')
    findings.refuse()


def test_what_several_files_have_is_explained_once():
    findings = Findings()
    for file in ('a.json', 'b.json', 'c.json'):
        for severity in (Severity.CHANGES, Severity.REFUSES):
            what, remedy = f'records are {severity.name}', 'Mend them.'
            findings.add(severity.name, severity, file, what, remedy, example=f'[0] of {file}')
        findings.add('other', Severity.CHANGES, file, f'has {file}', 'Take it away.', count=0)
    with pytest.raises(DataError) as error:
        findings.refuse()
    for message, name in ((str(error.value), 'REFUSES'), (findings.table(), 'CHANGES')):
        assert message.count(f'records are {name}') == message.count('Mend them.') == 1
        assert all(f'[0] of {file}' in message for file in ('a.json', 'b.json', 'c.json'))
    assert findings.table().count('Take it away.') == 1
    assert all(f'has {file}' in findings.table() for file in ('a.json', 'b.json', 'c.json'))
