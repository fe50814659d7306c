// How the page of a run looks: in light and dark, on paper-wide and on narrow screens.

/** Colours that charts and HTML share, by theme; every text colour has a contrast of 4.5 or more. */
const LIGHT = `
  --page: #f7f7f5; --card: #ffffff; --ink: #1a1d21; --soft: #565d66; --line: #dfe2e5; --faint: #eef0f1;
  --link: #1b5cb8; --good: #146c3a; --bad: #b3261e; --hit: #1b5cb8; --miss: #c4510c; --heat-ink: #000000;
  --plot: #ffffff; --plot-ink: #1a1d21;
  --series-1: #1b5cb8; --series-2: #b84a00; --series-3: #146c3a; --series-4: #8338a8; --series-5: #a81e55; --series-6: #00717a;`;
const DARK = `
  --page: #131519; --card: #1b1e23; --ink: #e8eaed; --soft: #a7afb9; --line: #343a42; --faint: #262a30;
  --link: #86b7ff; --good: #63cf91; --bad: #ff938a; --hit: #2f6fd0; --miss: #c2550f; --heat-ink: #ffffff;
  --plot: #c9cdd2; --plot-ink: #1a1d21;
  --series-1: #7db0ff; --series-2: #ff9d57; --series-3: #63cf91; --series-4: #cf9bea; --series-5: #ff8fb6; --series-6: #4ed0d8;`;

/** The style sheet of the page. */
export const STYLE = `
:root { color-scheme: light dark; ${LIGHT} }
@media (prefers-color-scheme: dark) { :root { ${DARK} } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
body > * { max-width: 1240px; margin-inline: auto; padding-inline: clamp(16px, 3vw, 32px); }
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
h1 { font-size: clamp(1.5rem, 1.1rem + 1.6vw, 2.1rem); line-height: 1.2; letter-spacing: -.015em; margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 .25rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
p { margin: 0; max-width: 72ch; }
header { padding-top: 2.2rem; }
header .kicker { color: var(--soft); font-size: .85rem; }
header .said { font-size: 1.1rem; }
section { margin-top: 2.6rem !important; }
section > p { color: var(--soft); margin-bottom: 1rem; }
section > * + * { margin-top: 1rem; }
section > h2 + p { margin-top: .1rem; }
footer { color: var(--soft); font-size: .85rem; padding-block: 2.5rem 3rem; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 1.4rem 0 0; }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem .85rem; }
.tiles dt { color: var(--soft); font-size: .82rem; }
.tiles dd { margin: 0; }
.tiles .value { font-size: 1.75rem; line-height: 1.25; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tiles .note { color: var(--soft); font-size: .82rem; line-height: 1.4; }
.good { color: var(--good); } .bad { color: var(--bad); }

.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: .1rem 2.5rem; margin: 1.4rem 0 0; }
.facts > div { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .75rem; padding: .32rem 0; border-bottom: 1px solid var(--line); font-size: .9rem; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }

nav { margin-top: 1.6rem !important; }
nav h2 { font-size: .82rem; font-weight: 400; letter-spacing: 0; color: var(--soft); }
nav ol { list-style: none; margin: .1rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; font-size: .9rem; }
nav a { display: inline-block; padding: .2rem 0; text-decoration: none; }
nav a:hover { text-decoration: underline; }

.scroll { overflow-x: auto; container-type: inline-size; }
.scroll caption > span { display: block; position: sticky; left: 0; max-width: 100cqi; }
.scroll tr > :first-child { position: sticky; left: 0; background: var(--card); z-index: 1; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding-bottom: .5rem; font-size: .9rem; line-height: 1.45; color: var(--soft); }
caption b, figcaption b { color: var(--ink); font-weight: 600; }
th, td { padding: .34rem .75rem; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } table.text td { white-space: normal; overflow-wrap: anywhere; }
thead th { vertical-align: bottom; font-weight: 500; color: var(--soft); line-height: 1.25; }
tbody th { font-weight: 500; white-space: nowrap; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr:last-child > * { border-bottom: 0; }
table.text td { text-align: left; }
tr.kept > * { font-weight: 650; }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); gap: 14px; }
.cards.uneven { grid-template-columns: minmax(0, 1fr); }
@media (min-width: 900px) { .cards.uneven { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr); } }
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; min-width: 0; }
.card table { width: 100%; } .card caption { padding-bottom: .6rem; }
figure { margin: 0; }
figcaption { font-size: .9rem; line-height: 1.45; color: var(--soft); margin-bottom: .6rem; }
figcaption b, caption b { display: block; }
.plot svg { display: block; width: 100%; height: auto; overflow: visible; color: var(--ink); background: none; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.plot { display: flex; flex-direction: column; }
.plot .drawing { margin: auto 0 0; max-width: 480px; }
.map .drawing { margin-top: 0; max-width: none; background: var(--plot); border-radius: 6px; }
.map svg { color: var(--plot-ink); }

.key { display: flex; flex-wrap: wrap; gap: .15rem 1rem; list-style: none; margin: 0 0 .5rem; padding: 0; font-size: .85rem; color: var(--soft); }
.key i, th i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; border: 1px solid color-mix(in srgb, var(--ink) 35%, transparent); vertical-align: -.05em; }
.key.lines i { width: 1.1em; height: .22em; border: 0; vertical-align: .2em; }

.heat { font-size: .8rem; }
.heat thead th { height: 6.2rem; padding: 0 0 .3rem; text-align: center; }
.heat thead th span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.heat thead th:first-child { text-align: left; font-size: .75rem; }
.heat tbody th { white-space: nowrap; padding: 0 .6rem 0 0; border: 0; }
.heat td { width: 2.6rem; min-width: 2rem; height: 2rem; padding: 0; text-align: center !important; border: 1px solid var(--card); border-radius: 4px; background: color-mix(in srgb, var(--hue) calc(var(--v) * 1%), var(--faint)); color: var(--heat-ink); }
.heat .hit { --hue: var(--hit); } .heat .miss { --hue: var(--miss); }
.heat .deep { color: #ffffff; } .heat .none { color: var(--soft); }

.strips { display: grid; gap: 18px; }
.strip > figcaption { margin-bottom: .3rem; overflow-wrap: anywhere; }
.panels { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: 8px; }
.panels img { display: block; width: 100%; height: auto; border-radius: 3px; background: var(--faint); }
.panels figcaption { margin: .25rem 0 0; font-size: .78rem; line-height: 1.3; display: flex; flex-wrap: wrap; column-gap: .45rem; }
.panels figcaption b { font-weight: 500; } .panels .last figcaption b { font-weight: 700; }
.panels figcaption span { font-variant-numeric: tabular-nums; }
ol.steps { margin: 0; padding: 0; list-style: none; }

.causes { display: grid; gap: 10px; margin: 0; padding: 0; list-style: none; }
.causes li { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 6px; padding: .7rem 1rem; max-width: 90ch; }
.causes b { display: block; font-size: .82rem; font-weight: 500; color: var(--soft); }
details summary { cursor: pointer; color: var(--link); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 1rem; overflow: auto; font-size: .8rem; max-height: 32rem; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }

@media (max-width: 900px) {
  .panels { grid-template-columns: repeat(min(var(--n), 4), minmax(0, 1fr)); }
}
@media (max-width: 600px) {
  body { font-size: 16px; }
  .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } .tiles > div { padding: .65rem .8rem .7rem; } .tiles .value { font-size: 1.45rem; }
  .facts > div { grid-template-columns: 5.5rem minmax(0, 1fr); }
  th, td { padding: .34rem .16rem; } table { font-size: .78rem; }
  .heat td { width: auto; min-width: 1.75rem; } .heat tbody th { padding-right: .35rem; } th i { width: .45em; margin-right: .35em; }
  .card { padding: 12px; }
}
@media print { body { background: none; } .card, .strip { break-inside: avoid; } nav { display: none; } }
`;
