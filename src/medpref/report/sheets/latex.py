"""Tables as LaTeX, with the rules of the package booktabs."""

from collections.abc import Iterable

from medpref.report.layout import Role
from medpref.report.sheets.sheet import Cell, Figure, Line, Sheet
from medpref.report.wording import ABSENT, number

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        # A bracket behind a row's end would be read as its option.
        "[": "{[}",
        "]": "{]}",
        "−": r"\ensuremath{-}",
        "▲": r"\ensuremath{\uparrow}",
        "▼": r"\ensuremath{\downarrow}",
        "✓": r"\ensuremath{\surd}",
        "×": r"\ensuremath{\times}",
        "κ": r"\ensuremath{\kappa}",
        "α": r"\ensuremath{\alpha}",
        "\u00a0": "~",
        "–": "--",
        "…": r"\dots{}",
        "“": "``",
        "”": "''",
        "’": "'",
        "\n": " ",
        "\r": " ",
        "\t": " ",
    }
)


def escape(text: str) -> str:
    """Return a text that LaTeX sets as it is, in one line; control characters are left out."""
    kept = "".join(char for char in text if char.isprintable() or char in "\n\r\t\u00a0")
    return kept.encode("utf-8", "replace").decode("utf-8").translate(_ESCAPES)


def latex_text(sheet: Sheet) -> str:
    """Return a table as a float with caption and label, for ``\\input``; it needs ``\\usepackage{booktabs}``.

    Figures stand as on the page, baselines below a rule of their own, the name of the best method in bold
    where tests separate it from every other one; so are single figures that are the best.
    """
    label = "".join(char if char.isalnum() else "-" for char in sheet.name)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(sheet.caption)}}}",
            rf"\label{{tab:{label}}}",
            *(_stacked(sheet) if sheet.stacked else _plain(sheet)),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _plain(sheet: Sheet) -> Iterable[str]:
    head = " & ".join(escape(title) for title in sheet.columns)
    yield rf"\begin{{tabular}}{{{_alignment(sheet)}}}"
    yield r"\toprule"
    yield rf"{head} \\"
    yield r"\midrule"
    yield from _body(sheet.lines)


def _stacked(sheet: Sheet) -> Iterable[str]:
    """Yield a table with each difference below its score: a line of scores, then a line of differences."""
    columns = [title for head in sheet.stacked for title in head.columns]
    spans = [rf"\multicolumn{{{len(head.columns)}}}{{l}}{{{escape(head.title)}}}" for head in sheet.stacked]
    # So many columns leave no room for letters of full size.
    yield r"\scriptsize"
    yield r"\setlength{\tabcolsep}{3pt}"
    yield rf"\begin{{tabular}}{{{'l' * (len(columns) + 1)}}}"
    yield r"\toprule"
    yield rf"{' & '.join(['', *spans])} \\"
    yield rf"{' & '.join([escape(sheet.columns[0]), *map(escape, columns)])} \\"
    yield r"\midrule"
    yield from _body(half for line in sheet.lines for half in _halves(line))


def _halves(line: Line) -> Iterable[Line]:
    """Yield a line's scores, and its differences where there are any."""
    name, *cells = line.cells
    yield line._replace(cells=(name, *cells[::2]))
    if any(cell is not None for cell in cells[1::2]):
        yield line._replace(cells=("", *("" if cell is None else cell for cell in cells[1::2])), best=False)


def _body(lines: Iterable[Line]) -> Iterable[str]:
    before = None
    for line in lines:
        if line.role is Role.BASELINE and before not in (None, Role.BASELINE):
            yield r"\midrule"
        before = line.role
        first, *rest = (_text(cell) for cell in line.cells)
        first = rf"\textbf{{{first}}}" if line.best else first
        yield " & ".join([first, *rest]) + r" \\"


def _alignment(sheet: Sheet) -> str:
    columns = zip(*(line.cells for line in sheet.lines), strict=True)
    sides = ["r" if all(not isinstance(c, str | Figure) for c in column) else "l" for column in columns]
    return "".join(sides or "l" * len(sheet.columns))


def _text(cell: Cell) -> str:
    if isinstance(cell, Figure):
        return rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
    if isinstance(cell, str):
        return escape(cell)
    return escape(ABSENT if cell is None else number(cell))
