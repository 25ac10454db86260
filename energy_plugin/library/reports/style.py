"""How the page looks: on a wide screen, on a phone, and on two sheets of paper."""

STYLE = """
:root{--ink:#1d2733;--soft:#5b6875;--line:#dfe4ea;--accent:#2f6690;--warm:#fff4d6}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:1060px;margin:1.6rem auto;
padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem;padding-bottom:.2rem;
border-bottom:1px solid var(--line)}h3{font-size:.98rem;margin:1rem 0 .2rem}
p{margin:.3rem 0}.soft,figcaption,small{color:var(--soft);font-size:.86rem}
ul.findings{padding-left:1.2rem;margin:.8rem 0}ul.findings li{margin:.25rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:.8rem}
.card{border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;overflow:hidden}
.card b{display:block}.card ul{margin:.3rem 0 0;padding-left:1.1rem;font-size:.86rem}
.row{display:flow-root;padding:.45rem 0;border-bottom:1px solid var(--line)}
.row b{font-size:.92rem}.row small{display:block}
.state{display:inline-block;min-width:6.2rem;font-size:.82rem;font-weight:600}
.answered{color:#24724a}.doubtful{color:#8a6100}.absent{color:#a3322c}
table{border-collapse:collapse;width:100%;font-size:.88rem}
td{padding:.25rem .5rem;vertical-align:top;border-bottom:1px solid var(--line)}
td:first-child{width:13rem;color:var(--soft)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:1rem}
figure{margin:0}figure img{width:100%}
img.page{max-width:110px;max-height:130px;border:1px solid var(--line);float:right;
margin:0 0 .3rem .6rem}
.both{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
.both ol{margin:.2rem 0;padding-left:1.4rem;font-size:.86rem}.both li{overflow:hidden}
.new{background:var(--warm)}summary{cursor:pointer;font-weight:600;margin-top:2rem}
@media(max-width:640px){body{margin:1rem auto}.both{grid-template-columns:1fr}
td:first-child{width:42%}img.page{max-width:72px;max-height:90px}}
@media print{@page{size:A4;margin:13mm}body{font-size:9.2pt;line-height:1.32;margin:0;padding:0;
max-width:none}h1{font-size:14pt}h2{font-size:11pt;margin:.7rem 0 .2rem;break-after:avoid}
.more,.expert{display:none}.cards{grid-template-columns:repeat(3,1fr);gap:.4rem}
.card,.row{break-inside:avoid;padding:.25rem .4rem}.card ul,.row small{font-size:8pt}
.clip{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden}
img.page{max-width:60px;max-height:60px}}
"""
