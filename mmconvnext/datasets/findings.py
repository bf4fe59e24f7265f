"""Gathers what the data checks find in whole files, and prints it as one table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from mmconvnext.datasets.errors import DataError

EXAMPLES = 3  # examples that each finding keeps


class Severity(Enum):
    """What a finding means for the run, worst first."""

    REFUSES = 'refuses'  # the run ends before it starts
    CHANGES = 'changes the result'  # the run goes on, and its result is likely not what the user wants
    LEFT_OUT = 'left out'  # MMDetection or MMSegmentation leaves these records out
    MENDED = 'read as meant'  # the file deviates from its format, but its meaning is certain
    HARMLESS = 'harmless'


@dataclass
class Finding:
    """One kind of fault, with how often it was found.

    Args:
        kind: A short name that does not change, such as ``box-outside-image``.
        severity: What it means for the run.
        file: The file or folder that has it.
        what: What is wrong, as the part of a sentence that follows the count: ``annotations have an area of 0``.
        remedy: What to do, as a sentence.
        count: How often it was found; 0 if it is about the file as a whole.
        total: The number of records that were checked; None if it would mean nothing.
        examples: The first few records: ``annotations[7] (id 12, image dog.jpg)``.
    """

    kind: str
    severity: Severity
    file: str
    what: str
    remedy: str
    count: int = 0
    total: int | None = None
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line: the file, the count, what is wrong, the first examples, and the remedy."""
        gap = '' if self.remedy.startswith('\n') else ' '
        return f'{self._found(self.what)}.{gap}{self.remedy}'.rstrip()

    def after(self, others: Iterable['Finding']) -> str:
        """Returns the same line, but does not repeat what earlier findings said about other files."""
        same = [other for other in others if (other.kind, other.remedy) == (self.kind, self.remedy)]
        if any(other.what == self.what for other in same):
            return f'{self._found("likewise")}.'
        return f'{self._found(self.what)}. The remedy is the same.' if same and self.remedy else str(self)

    def _found(self, what: str) -> str:
        count = '' if not self.count else f': {self.count}' if self.total is None else f': {self.count} of {self.total}'
        rest = self.count - len(self.examples)
        more = f' and {rest} more' if rest > 0 and self.examples else ''
        examples = f': {"; ".join(self.examples)}{more}' if self.examples else ''
        return f'{self.file}{count} {what}{examples}'


class Findings:
    """All findings in a run's data: one for each kind of fault in each file."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str], Finding] = {}

    def add(
        self,
        kind: str,
        severity: Severity,
        file: str,
        what: str,
        remedy: str = '',
        *,
        example: str | None = None,
        count: int = 1,
        total: int | None = None,
    ) -> Finding:
        """Counts a fault. Only the first of its kind in a file sets the severity, the texts and the total.

        Args:
            kind: As in :class:`Finding`.
            severity: As in :class:`Finding`.
            file: As in :class:`Finding`.
            what: As in :class:`Finding`.
            remedy: As in :class:`Finding`.
            example: The record that has the fault.
            count: How many records have it; 0 if it is about the file as a whole.
            total: As in :class:`Finding`.
        """
        finding = self._findings.setdefault((file, kind), Finding(kind, severity, file, what, remedy, total=total))
        finding.count += count
        if example is not None and len(finding.examples) < EXAMPLES:
            finding.examples.append(example)
        return finding

    def __iter__(self) -> Iterator[Finding]:
        """Yields the findings, worst first, then by kind, in the order in which they were found."""
        severities = list(Severity)
        kinds = list(dict.fromkeys(kind for _, kind in self._findings))
        yield from sorted(
            self._findings.values(), key=lambda found: (severities.index(found.severity), kinds.index(found.kind))
        )

    def __len__(self) -> int:
        """The number of findings: one for each kind of fault in each file."""
        return len(self._findings)

    def of(self, kind: str) -> list[Finding]:
        """Returns the findings of one kind, one for each file."""
        return [finding for finding in self if finding.kind == kind]

    @property
    def refuses(self) -> bool:
        """Whether any finding ends the run."""
        return any(finding.severity is Severity.REFUSES for finding in self._findings.values())

    def table(self) -> str:
        """Returns a line for each finding that does not refuse, with its severity first; empty if there is none."""
        width = max((len(severity.value) for severity in Severity), default=0)
        listed = [finding for finding in self if finding.severity is not Severity.REFUSES]
        return '\n'.join(
            f'  {finding.severity.value:<{width}}  {finding.after(listed[:index])}'
            for index, finding in enumerate(listed)
        )

    def refuse(self) -> None:
        """Ends the run if any finding refuses.

        Raises:
            DataError: With one sentence for one finding, or a line each for several. ``facts['findings']`` has them.
        """
        refusing = [finding for finding in self if finding.severity is Severity.REFUSES]
        if len(refusing) == 1:
            raise DataError(str(refusing[0]), findings=refusing)
        if refusing:
            lines = [f'the data has {len(refusing)} faults that end the run:']
            lines += [f'    {finding.after(refusing[:index])}' for index, finding in enumerate(refusing)]
            raise DataError('\n'.join(lines), findings=refusing)
