//! The one style sheet.

/// Light by default, dark where the reader's system is, black on white on paper.
pub(super) const STYLE: &str = r#"
:root{--bg:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#5d6470;--line:#e3e5e8;--faint:#f2f3f5;
--met:#12784a;--met-bg:#e2f4ea;--missed:#b3261e;--missed-bg:#fce8e6;--undecided:#8a5a00;--undecided-bg:#fdf1d8;--invalid:#5b4b8a;--invalid-bg:#ece8f7;
--a:#1f5fd0;--b:#0b8a83;--c:#9a4fc4;--d:#b4690e;--e:#c2255c;--g:#5c7a12;--fault:#b3261e;--back:#12784a;--bar:#4777c7;--bar-soft:#b9c2cf}
@media (prefers-color-scheme:dark){:root{--bg:#121417;--card:#1a1d21;--ink:#e8eaed;--soft:#9aa3af;--line:#2f343b;--faint:#22262b;
--met:#63d397;--met-bg:#12301f;--missed:#ff8f85;--missed-bg:#3a1714;--undecided:#f2bf57;--undecided-bg:#362708;--invalid:#bba9f2;--invalid-bg:#282142;
--a:#78a9ff;--b:#4fd1c5;--c:#d19bf0;--d:#f0ad5c;--e:#ff8fb5;--g:#b5d45a;--fault:#ff8f85;--back:#63d397;--bar:#6c9bec;--bar-soft:#4a525d}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1080px;margin:0 auto;padding:32px 24px 64px}
header{border-bottom:1px solid var(--line);padding-bottom:20px;margin-bottom:8px}
.kicker{color:var(--soft);font-size:13px;margin:0 0 4px}
h1{font-size:28px;line-height:1.2;margin:0 0 14px;letter-spacing:-.01em}
h2{font-size:19px;margin:0 0 4px;letter-spacing:-.005em}
h3{font-size:15px;margin:18px 0 6px}
.verdict{display:flex;gap:14px;align-items:baseline;padding:14px 16px;border-radius:10px;border-left:5px solid;margin:0 0 14px}
.verdict b{font-size:18px;text-transform:uppercase;letter-spacing:.04em;white-space:nowrap}
.verdict p{margin:0}
.verdict.met{background:var(--met-bg);border-color:var(--met)}.verdict.met b{color:var(--met)}
.verdict.missed{background:var(--missed-bg);border-color:var(--missed)}.verdict.missed b{color:var(--missed)}
.verdict.undecided{background:var(--undecided-bg);border-color:var(--undecided)}.verdict.undecided b{color:var(--undecided)}
.verdict.invalid,.verdict.none{background:var(--invalid-bg);border-color:var(--invalid)}.verdict.invalid b,.verdict.none b{color:var(--invalid)}
.why{margin:0 0 6px;max-width:75ch}.hyp{color:var(--soft);margin:0 0 14px;max-width:75ch}
section{margin-top:30px}
.lead{color:var(--soft);margin:0 0 12px;max-width:80ch}
.chip{display:inline-block;border-radius:99px;padding:1px 10px;font-size:13px;font-weight:600;white-space:nowrap;background:var(--faint);color:var(--soft)}
.chip.met{background:var(--met-bg);color:var(--met)}.chip.missed{background:var(--missed-bg);color:var(--missed)}
.chip.undecided{background:var(--undecided-bg);color:var(--undecided)}.chip.invalid{background:var(--invalid-bg);color:var(--invalid)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;break-inside:avoid}
.card h3{margin:0;font-size:15px;display:flex;justify-content:space-between;gap:8px;align-items:flex-start}
.card .big{font-size:23px;font-weight:650;letter-spacing:-.01em;margin:6px 0 0;line-height:1.25}
.card .by{color:var(--soft);font-size:13px;margin:0}
.card .words{font-size:14px;margin:4px 0 0}
.facts{display:flex;flex-wrap:wrap;gap:8px 28px;margin:0}
.facts div{min-width:0}.facts dt{color:var(--soft);font-size:12.5px}.facts dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:500;font-size:12.5px;white-space:nowrap}
th,td{padding:7px 12px;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border-bottom:0}
td.num,th.num{text-align:right;white-space:nowrap}
td.dim,.dim{color:var(--soft)}
td:first-child{overflow-wrap:normal}td code{overflow-wrap:anywhere}
.figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 12px 6px;overflow-x:auto;margin:0 0 14px;break-inside:avoid}
.figure svg{display:block;width:100%;height:auto;min-width:660px}
.figure figcaption{color:var(--soft);font-size:13px;margin:0 0 6px}
.gauge{width:100%;max-width:380px;height:auto;display:block;margin-top:8px}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:var(--soft)}
svg .ink{fill:var(--ink)}svg .strong{font-weight:600}
svg .axis{stroke:var(--line);stroke-width:1;fill:none}
svg .s0{stroke:var(--a)}svg .s1{stroke:var(--b)}svg .s2{stroke:var(--c)}svg .s3{stroke:var(--d)}svg .s4{stroke:var(--e)}svg .s5{stroke:var(--g)}
svg .f0{fill:var(--a)}svg .f1{fill:var(--b)}svg .f2{fill:var(--c)}svg .f3{fill:var(--d)}svg .f4{fill:var(--e)}svg .f5{fill:var(--g)}
svg .seriesline{fill:none;stroke-width:1.6;stroke-linejoin:round}
svg .band{opacity:.22;stroke:none}
svg .down{fill:var(--missed);opacity:.16}
svg .gap{fill:var(--soft);opacity:.18}
svg .fault{stroke:var(--fault);fill:var(--fault)}svg .back{stroke:var(--back);fill:var(--back)}
svg text.fault,svg text.back{stroke:none;font-weight:600}
svg .faultband{fill:var(--fault);opacity:.28}svg .backband{fill:var(--back);opacity:.28}
svg .acks{fill:var(--bar-soft)}svg .lost{fill:var(--missed)}
svg .track{fill:var(--faint)}svg .span{fill:var(--bar)}svg .soft{fill:var(--bar-soft)}svg .unsure{fill:var(--bar);opacity:.35}svg .softunsure{fill:var(--bar-soft);opacity:.45}
svg .met{fill:var(--met)}svg .missed{fill:var(--missed)}svg .undecided{fill:var(--undecided)}svg .invalid{fill:var(--invalid)}
svg .target{stroke:var(--ink);stroke-width:2}svg .theory{stroke:var(--soft);stroke-width:1.5;fill:none}
svg .old{opacity:.45}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);margin:0 0 4px}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.l0{background:var(--a)}.l1{background:var(--b)}.l2{background:var(--c)}.l3{background:var(--d)}.l4{background:var(--e)}.l5{background:var(--g)}.lacks{background:var(--bar-soft)}.llost{background:var(--missed)}
.matrix td{white-space:nowrap}.matrix .never{color:var(--soft)}.matrix .stale{background:var(--undecided-bg)}.matrix .stale small{color:var(--undecided);font-weight:600}
.matrix small{display:block;color:var(--soft)}
ul{margin:6px 0 0;padding-left:20px}li{margin:2px 0}
.bad{color:var(--missed);font-weight:600}.good{color:var(--met);font-weight:600}
code{font:13px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
footer{margin-top:36px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);font-size:13px}
@media (max-width:560px){main{padding:18px 14px 40px}h1{font-size:22px}.verdict{flex-direction:column;gap:4px}.card .big{font-size:20px}th,td{padding:6px 9px}}
@media print{@page{margin:14mm}:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--faint:#f0f0f0;--met:#0b5f38;--missed:#9b1c15;--undecided:#704800;--invalid:#463678;--met-bg:#e2f4ea;--missed-bg:#fce8e6;--undecided-bg:#fdf1d8;--invalid-bg:#ece8f7;--a:#1f5fd0;--b:#0b8a83;--c:#9a4fc4;--d:#b4690e;--fault:#b3261e;--back:#12784a;--bar:#4777c7;--bar-soft:#b9c2cf}
body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}main{max-width:none;padding:0}.figure svg{min-width:0}.scroll,.figure{overflow:visible}table{font-size:8.5pt}th{font-size:8pt}th,td{padding:4px 6px}th,td.num,th.num{white-space:normal}section{break-inside:auto}h2{break-after:avoid}tr{break-inside:avoid}}
"#;
