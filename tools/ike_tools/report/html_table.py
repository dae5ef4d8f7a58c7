"""A table of the report, as HTML."""

from __future__ import annotations

from collections.abc import Sequence


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    n_totals: int = 0,
) -> str:
    """A table in a box that scrolls by itself; cells are HTML, the first of a row is its heading.

    ``groups`` are headings above the columns (name, columns); the last ``n_totals`` rows are sums
    or means.
    """
    group_cells = [_heading(name, f'colspan="{n}"', "colgroup") for name, n in groups]
    head = [group_cells, [_heading(name, "", "col") for name in columns]]
    body = [
        [_heading(cells[0], "", "row"), *(f"<td>{cell}</td>" for cell in cells[1:])]
        for cells in rows
    ]
    split = len(body) - n_totals
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead>{_lines(head)}</thead>"
        f"<tbody>{_lines(body[:split])}</tbody>"
        f'<tbody class="total">{_lines(body[split:])}</tbody></table></div>'
    )


def _heading(text: str, attributes: str, scope: str) -> str:
    # An empty heading would be read out as one.
    return f'<th {attributes} scope="{scope}">{text}</th>' if text else f"<td {attributes}></td>"


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows if cells)
