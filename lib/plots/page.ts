/** The frame of a page of plots: a single file that needs no network, no other file and, unless it is served, no script. */

import { createHash } from 'node:crypto';
import { escaped } from './escaped.ts';
import { pageStyle } from './pageStyle.ts';

/** No request can leave the page, whatever a name in it contains. */
const policy =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/** Code of a page that is served, in addition to the common style. */
export interface PageCode {
  readonly style: string;
  /** A module. It may ask its own server, and nobody else. */
  readonly script: string;
}

/** What a page with code may do: run this script, ask its own server. */
export function codePolicy({ style, script }: PageCode): string {
  const digest = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return (
    `default-src 'none'; script-src ${digest(script)}; style-src ${digest(pageStyle + style)}; img-src data:; ` +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
  );
}

/**
 * @param line below the title, in a muted colour
 * @param parts HTML
 * @param code default: none, and then none can run
 */
export function page(title: string, line: string, parts: readonly string[], code?: PageCode): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${code === undefined ? policy : codePolicy(code)}">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<style>${pageStyle}${code?.style ?? ''}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p class="quiet">${escaped(line)}</p>
${parts.join('\n')}
</main>
${code === undefined ? '' : `<script type="module">${code.script}</script>\n`}</body>
</html>
`;
}
