/** The frame of a page of plots: a single file that needs no network, no script and no other file. */

import { escaped } from './escaped.ts';
import { pageStyle } from './pageStyle.ts';

/** No request can leave the page, whatever a name in it contains. */
const policy =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/**
 * @param line below the title, in a muted colour
 * @param parts HTML
 */
export function page(title: string, line: string, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<style>${pageStyle}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p class="quiet">${escaped(line)}</p>
${parts.join('\n')}
</main>
</body>
</html>
`;
}
