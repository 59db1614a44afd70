/** The page of `GET /live`: one file, with its style and its script in it. What it shows comes from `/live/events`. */

import { readFileSync } from 'node:fs';
import { escaped } from '../../plots/escaped.ts';
import { codePolicy, page } from '../../plots/page.ts';
import type { Policy } from '../../types.ts';

/** They lie beside this file's source, which the package has too. */
const read = (name: string): string =>
  readFileSync(new URL(`../../../lib/serve/live/page/${name}`, import.meta.url), 'utf8');

/** Its modules as one, each after those that it imports. */
const script = ['marks', 'history', 'panels', 'actions', 'latency', 'view']
  .map((name) =>
    read(`${name}.mjs`)
      .replace(/^import [^;]+;\n/gm, '')
      .replace(/^export /gm, ''),
  )
  .join('\n');

const code = { style: read('view.css'), script };

/** The header says what a page cannot say about itself: that nobody may frame it. */
export const livePagePolicy = `${codePolicy(code)}; frame-ancestors 'none'`;

/** The page of this policy. */
export function livePage({ variant, platform }: Pick<Policy, 'variant' | 'platform'>): string {
  const { name, cameras, chunk } = platform;
  return page(
    `${variant}, live`,
    `Platform ${name}, cameras ${cameras.join(', ')}, ${chunk} actions a chunk.`,
    [body],
    code,
  );
}

const unknowns: readonly string[] = [
  'What was done with a chunk. The server answers requests; the client plays the chunk, blends it, drops its head or throws it away. ' +
    'Only a client that reports (reportLoop, or POST /live/report) tells what was sent to the robot, which limits changed it, and when it held.',
  'Whether the robot followed. The joint state of the next request is all that comes back.',
  'How far apart the rows of a chunk are in time, unless the loop reports it or you type it above. Otherwise the page assumes that each chunk is played to its end.',
  'When a frame was taken: times are those of the whole request, read by the server. Network and camera come before that, and the way back after the answer.',
  'Which of several clients a request of POST /act is from, if they share a machine and send no "robot": they are shown as one.',
  'What happened while nobody looked: nothing is kept then.',
];

const body = `
<noscript><p>This page draws what the server sends, with a script: allow it for this address.</p></noscript>
<div class="bar">
<span id="link" role="status" class="wait">connecting</span>
<span id="robots" role="group" aria-label="Robots"></span>
<span class="tools">
<button type="button" id="freeze" aria-pressed="false" title="Space">Freeze</button>
<button type="button" id="back" title="Left arrow: one picture back" disabled>&#9664;</button>
<button type="button" id="forward" title="Right arrow: one picture on" disabled>&#9654;</button>
<label>seconds <select id="window"><option>3</option><option selected>8</option><option>20</option><option>60</option></select></label>
<label>actions a second <input id="rate" type="number" min="0.1" step="any" placeholder="not known"></label>
</span>
</div>
<p id="sentence" class="quiet">Nobody has asked since this page was opened.</p>
<dl class="tiles" id="tiles"></dl>
<div class="pair">
<figure aria-label="Frames"><div id="cameras"></div><figcaption id="picture-note"></figcaption></figure>
<figure aria-label="Holds, limits and refusals"><h2>Holds, limits, refusals</h2><ol id="log"></ol><p id="calm" class="quiet">None so far.</p></figure>
</div>
<figure aria-label="Actions"><h2>Actions, chunk over chunk</h2><div id="legend"></div><svg id="actions" role="img" aria-labelledby="actions-note"></svg><figcaption id="actions-note"></figcaption></figure>
<figure aria-label="Latency"><h2>Latency, request by request</h2><svg id="latency" role="img" aria-labelledby="latency-note"></svg><figcaption id="latency-note"></figcaption></figure>
<details><summary>Joint state, as sent with the last request</summary><p id="state" class="numbers"></p></details>
<details><summary>What the server cannot know</summary><ul>${unknowns.map((text) => `<li>${escaped(text)}</li>`).join('')}</ul></details>
`;
