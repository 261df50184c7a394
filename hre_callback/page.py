"""The shell of the report: style sheet, document, tables. Self-contained: a policy forbids every request."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark;
  --paper:#fdfcf8; --ink:#1d1f21; --soft:#5b5e63; --hair:#e3e0d6; --axis:#8d8a80; --people:#0b5c8a;
  --band:#0b5c8a1c; --paired:#0b5c8a4d; --good:#1b6b3a; --watch:#8a5200; --bad:#b3261e; --card:#f5f2e9;
  --o0:#8a3b7c; --o1:#8a5a00; --o2:#2f6f62; --o3:#5a4fcf; }
@media (prefers-color-scheme: dark) { :root {
  --paper:#15171a; --ink:#e8e6e1; --soft:#a7a9ad; --hair:#2d3035; --axis:#7c8086; --people:#6cb8e6;
  --band:#6cb8e622; --paired:#6cb8e655; --good:#6fce93; --watch:#f0b35a; --bad:#ff8a80; --card:#1d2024;
  --o0:#d99bcd; --o1:#e3b85c; --o2:#7fcdbb; --o3:#aaa3ff; } }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink);
  font:1rem/1.5 Charter,"Iowan Old Style","Palatino Linotype",Palatino,Georgia,serif; }
header, main, footer { max-width:60rem; margin:0 auto; padding:0 1rem; }
header { padding-top:2.2rem }
h1 { font-size:clamp(1.7rem,5.4vw,2.6rem); line-height:1.12; margin:.15rem 0 .6rem; font-weight:600; text-wrap:balance }
h2 { font-size:1.35rem; font-weight:600; margin:3rem 0 .4rem; padding-top:1rem; border-top:1px solid var(--hair) }
h3 { font-size:1.05rem; font-weight:600; margin:1.6rem 0 .3rem }
p { margin:.4rem 0; max-width:44rem } .kicker, .note, figcaption { color:var(--soft) }
.note, figcaption, footer { font-size:.9rem } figure { margin:1rem 0 } footer { padding-bottom:3rem; color:var(--soft) }
.kicker, .panel-title, table, svg text, dl, .detail, .swatches { font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
  font-variant-numeric:tabular-nums }
.kicker { font-size:.85rem; overflow-wrap:anywhere } .detail { font-size:.98rem }
.good { color:var(--good) } .watch { color:var(--watch) } .bad { color:var(--bad) }
.plot { padding:0 5.6rem 0 3.2rem; max-width:60rem }
.panel-title { margin:.5rem -5.6rem 0 -3.2rem; font-size:.85rem; max-width:none } .panel-title span { color:var(--soft); margin-left:.3rem }
svg { overflow:visible; display:block } svg text { fill:var(--ink); font-size:12px } svg line { stroke-width:1 }
.curves path { fill:none; vector-effect:non-scaling-stroke; stroke-linejoin:round }
svg .grid { stroke:var(--hair) } svg .axis { stroke:var(--axis) } svg .zero { stroke:var(--axis) }
svg .tick { fill:var(--soft); font-size:11.5px } svg .label { font-size:12px; paint-order:stroke; stroke:var(--paper); stroke-width:3px; stroke-linejoin:round }
path.score { stroke:var(--people); stroke-width:2.2 } path.band { fill:var(--band) } path.paired { fill:var(--paired) }
line.band-bar { stroke:var(--people); stroke-width:6; opacity:.25 } path.range { fill:var(--paired) }
line.baseline { stroke:var(--people); stroke-dasharray:2 4; stroke-width:1.3 }
line.ceiling { stroke:var(--ink); stroke-dasharray:7 4; stroke-width:1.2 } line.human { stroke:var(--ink); stroke-width:1; opacity:.6 } line.break { stroke:var(--axis); stroke-dasharray:1 3 }
circle.now, circle.score { fill:var(--people) } circle.hollow { fill:var(--paper); stroke:var(--people); stroke-width:1.6 }
text.end-now { fill:var(--people); font-weight:650; font-size:13px } text.end-start { fill:var(--people) }
path.proxy { stroke:var(--ink); stroke-width:1.5 } circle.proxy, circle.proxy-dot { fill:var(--ink) }
path.thin { stroke:var(--soft); stroke-width:.9; stroke-dasharray:3 2 } text.skip { fill:var(--bad); font-size:14px }
line.mark { stroke-dasharray:3 3 } line.mark.bad { stroke:var(--bad) } line.mark.watch { stroke:var(--watch) }
svg text.bad { fill:var(--bad) } svg text.watch { fill:var(--watch) }
path.other { stroke-width:1.6 } path.other-0 { stroke:var(--o0) } path.other-1 { stroke:var(--o1); stroke-dasharray:6 3 }
path.other-2 { stroke:var(--o2); stroke-dasharray:2 2 } path.other-3 { stroke:var(--o3); stroke-dasharray:8 3 2 3 }
text.end-0 { fill:var(--o0) } text.end-1 { fill:var(--o1) } text.end-2 { fill:var(--o2) } text.end-3 { fill:var(--o3) }
path.spark { stroke:var(--people); stroke-width:1.3 } circle.spark-dot, circle.spark { fill:var(--people) }
line.whisker { stroke:var(--soft); stroke-width:2 } circle.unclear { fill:var(--paper); stroke:var(--soft); stroke-width:1.6 }
circle.better { fill:var(--good) } circle.worse { fill:var(--bad) }
line.shift-better { stroke:var(--good); stroke-width:2 } line.shift-worse { stroke:var(--bad); stroke-width:2 }
.thermometer { padding:0 3rem; max-width:40rem; margin:1.2rem 0 .6rem }
.triangle { width:100%; max-width:22rem; margin:0 auto } .triangle line { stroke:var(--people) }
.triangle .edge-worse { stroke:var(--bad); stroke-dasharray:6 4 } .triangle .edge-none { stroke:var(--axis); stroke-dasharray:2 4 }
circle.node { fill:var(--card); stroke:var(--axis) }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr)); gap:0 2rem; align-items:start }
.scroll { overflow-x:auto } table { border-collapse:collapse; font-size:.88rem; width:100%; margin:.6rem 0 }
caption { text-align:left; color:var(--soft); padding-bottom:.3rem } th { text-align:left; font-weight:600; vertical-align:bottom }
th, td { padding:.28rem .7rem .28rem 0; border-bottom:1px solid var(--hair); overflow-wrap:break-word }
td, tbody th { vertical-align:middle } th.num, td.num { text-align:right; white-space:nowrap } td.draw { min-width:7rem; width:30% } td.spark { min-width:5rem; width:16% }
thead th { color:var(--soft); font-weight:500 } tbody th { font-weight:500 }
article { background:var(--card); border-radius:6px; padding:.7rem .9rem; margin:.7rem 0; overflow-wrap:anywhere }
article h4 { margin:0 0 .3rem; font-size:1rem; line-height:1.35 } article p { margin:.25rem 0; font-size:.92rem }
blockquote { margin:.3rem 0; padding-left:.7rem; border-left:2px solid var(--axis); font-size:.92rem } .dumb { padding:0 .4rem; margin:.5rem 0 .2rem }
details { margin:.8rem 0 } summary { cursor:pointer; font-weight:600 } summary:focus-visible { outline:2px solid var(--people) }
dl { display:grid; grid-template-columns:max-content 1fr; gap:.2rem 1rem; font-size:.88rem; overflow-wrap:anywhere } dt { color:var(--soft) } dd { margin:0 }
@media (max-width:36rem) { .plot { padding:0 5.6rem 0 2.5rem } .panel-title { margin:.5rem -5.6rem 0 -2.5rem } .wide { display:none }
  .thermometer { padding:0 1.6rem } dl { grid-template-columns:1fr; gap:0 } dd { margin-bottom:.5rem } th, td { padding-right:.45rem } }
@media print { body { background:#fff } article { break-inside:avoid } }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, header: str, sections: Sequence[str], footer: str) -> str:
    """The whole page. `title` is plain text; the rest is markup."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<header>\n{header}\n</header>\n<main>\n{chr(10).join(filter(None, sections))}\n</main>\n"
        f"<footer>\n{footer}\n</footer>\n</body>\n</html>\n"
    )


def section(name: str, title: str, *parts: str) -> str:
    """A section with its heading, or nothing when it has no content. `title` is plain text; `parts` are markup."""
    body = "\n".join(filter(None, parts))
    return (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(title)}</h2>\n{body}\n</section>'
        if body
        else ""
    )


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table of markup cells; `columns` are `(heading, css)`. The first cell of a row is its heading."""
    head = "".join(f'<th scope="col" class="{css}">{escape(name)}</th>' for name, css in columns)
    body = "\n".join(_row(columns, row) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(columns: Sequence[tuple[str, str]], row: Sequence[str]) -> str:
    (_, css), *rest = columns
    cells = "".join(f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(rest, row[1:], strict=True))
    return f'<tr><th scope="row" class="{css}">{row[0]}</th>{cells}</tr>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A list of names and values, both plain text."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs if v) + "</dl>"


def paragraph(words: str, css: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{css}">{escape(words)}</p>' if css else f"<p>{escape(words)}</p>"
