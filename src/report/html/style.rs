//! How the page looks. Colours are those of the drawings.

/// The rules beside those of the drawings.
pub(super) const PAGE: &str = "\
*{box-sizing:border-box}
html{background:var(--paper);color:var(--text);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;\
-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1120px;padding:1.5rem 1.25rem 3rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.3;margin:0 0 .6rem}
section{margin:2.2rem 0;padding-top:1.4rem;border-top:1px solid var(--grid)}
.question{font-size:1.15rem;margin:0 0 1rem;max-width:60rem}
.verdict{border-left:5px solid var(--s2);background:color-mix(in srgb,var(--s2) 9%,var(--paper));padding:.6rem 1rem;margin:0 0 .8rem}
.verdict.broken{border-color:var(--bad);background:color-mix(in srgb,var(--bad) 9%,var(--paper))}
.verdict p{margin:.2rem 0;overflow-wrap:anywhere}
.origin,.note,.source,figcaption,footer{color:var(--muted);font-size:.9rem}
.note{margin:.4rem 0 1.4rem}
a{color:inherit;text-decoration-color:var(--s0);text-underline-offset:.15em}
a:hover{color:var(--s0)}
:focus-visible{outline:3px solid var(--s0);outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;list-style:none;margin:1rem 0 0;padding:0;font-size:.95rem}
figure{margin:0}
figcaption{margin:.5rem 0;max-width:60rem}
svg{display:block;width:100%;height:auto}
svg.narrow{display:none}
details{margin:.6rem 0}
summary{cursor:pointer;font-weight:600;padding:.25rem 0}
.scroll{overflow-x:auto;margin:.4rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0;position:sticky;left:0}
caption.unseen{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
th,td{padding:.25rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
thead th{vertical-align:bottom;border-bottom:2px solid var(--axis);white-space:normal}
thead span{display:block;color:var(--muted);font-weight:400}
tbody th,.words{text-align:left}
tbody th{position:sticky;left:0;background:var(--paper);font-weight:600}
tbody tr:hover>*{background:color-mix(in srgb,var(--s0) 8%,var(--paper))}
.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:0 0 1rem}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
.keys{display:flex;flex-wrap:wrap;gap:.35rem;margin:.5rem 0}
.keys button{display:inline-flex;align-items:center;gap:.4rem;font:inherit;font-size:.88rem;padding:.28rem .6rem;min-height:2rem;cursor:pointer;\
color:var(--text);background:var(--paper);border:1px solid var(--axis);border-radius:.4rem}
.keys button[aria-pressed=true]{background:color-mix(in srgb,var(--s0) 14%,var(--paper));border-color:var(--s0)}
.keys button[aria-pressed=false][data-algorithm],.keys button[aria-pressed=false][data-driver]{color:var(--muted);text-decoration:line-through}
.keys button:disabled{opacity:.5;cursor:default}
.keys i,output i{flex:none;display:inline-block;width:.75rem;height:.75rem;border-radius:.15rem;background:var(--k);margin-right:.3rem}
.chart svg{touch-action:pan-y;cursor:crosshair;user-select:none}
output{display:block;min-height:4.5rem;font-size:.88rem;color:var(--text)}
output ul{columns:17rem;list-style:none;margin:.2rem 0 0;padding:0}
output li{break-inside:avoid;overflow-wrap:anywhere}
@media(max-width:700px){body{padding:1rem .8rem 2rem}h1{font-size:1.6rem}svg.wide{display:none}svg.narrow{display:block}\
dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}th,td{padding:.25rem .5rem}}
@media print{body{max-width:none}section{break-inside:avoid}nav{display:none}}
";
