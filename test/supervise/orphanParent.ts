/** A supervising process that will be killed: starts an engine, lets it hang when told so, prints its process id. */

import { fileURLToPath } from 'node:url';
import { superviseEngine } from '../../lib/supervise/superviseEngine.ts';

const policy = await superviseEngine({
  engine: { module: fileURLToPath(new URL('./fakeEngine.ts', import.meta.url)) },
  deadlineMs: 600_000,
  silenceMs: 600_000,
});
if (process.argv[2] === 'hang') {
  policy.predict({ images: {} }, { instruction: 'hang' }).catch(() => {});
}
// as text, since a console may colour numbers
console.log(String(policy.pid));
setInterval(() => {}, 1000);
