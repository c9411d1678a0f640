import { type Html, html } from './html.ts';

/** Path of the stylesheet. */
export const stylesheetPath = '/docs/style.css';

/** Returns a complete HTML page. @param main its main content */
export function page(title: string, main: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="${stylesheetPath}">
</head>
<body>
<header>
<nav aria-label="Documentation"><a href="/docs">API</a> <a href="/problems">Problems</a> <a href="/openapi.json">OpenAPI document</a></nav>
</header>
<main>
${main}
</main>
</body>
</html>
`.markup;
}

/** Renders text with `code` in backticks. @param link returns the markup for a code, or undefined for the code itself */
export function prose(text: string, link: (code: string) => Html | undefined = () => undefined): Html[] {
  return text
    .split('`')
    .map((piece, index) => (index % 2 === 0 ? html`${piece}` : html`<code>${link(piece) ?? piece}</code>`));
}

/** Stylesheet of all pages. Colors follow the system's light or dark mode. */
export const stylesheet = `:root {
  color-scheme: light dark;
  --text: light-dark(#1d2430, #e4e8ee);
  --faint: light-dark(#5b6675, #9aa7b8);
  --line: light-dark(#d9dee5, #333c49);
  --box: light-dark(#f5f7f9, #1c222b);
  --page: light-dark(#ffffff, #12161c);
  --link: light-dark(#a04100, #ffab66);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
header { border-bottom: 1px solid var(--line); padding: 0.75rem 1.5rem; }
header a { margin-right: 1.25rem; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
h1 { margin-top: 0; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2.5rem; }
h4 { margin: 1.25rem 0 0.25rem; color: var(--faint); }
code, pre { font: 0.9em/1.5 ui-monospace, monospace; }
h3 code { font-size: 1em; }
pre { margin: 0.5rem 0; padding: 0.75rem 1rem; overflow-x: auto; background: var(--box); border-radius: 6px; }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 0.4rem 0.75rem 0.4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
.faint { color: var(--faint); }
ul.index { padding: 0; list-style: none; }
`;
