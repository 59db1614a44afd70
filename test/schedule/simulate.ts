/**
 * `npm run simulate`: random episodes through every scheduler, checking what leaves for the robot.
 *
 *   npm run simulate                          100,000 episodes of each mode
 *   npm run simulate -- --episodes 1000 --mode asynchronous --seed 17 --bail
 *
 * Exit code 1 when any episode breaks the invariant; its mode and seed are printed, and repeat it.
 */

import { parseArgs } from 'node:util';
import { makers, runEpisode } from './episode.ts';

const { values } = parseArgs({
  options: {
    episodes: { type: 'string', default: '100000' },
    mode: { type: 'string' },
    seed: { type: 'string', default: '1' },
    bail: { type: 'boolean', default: false },
  },
});
const episodes = Number(values.episodes);
const firstSeed = Number(values.seed);
const modes = values.mode === undefined ? Object.keys(makers) : [values.mode];
let failed = 0;
const heads = ['episodes', 'ticks', 'executed', 'held', 'dropped', 'superseded', 'failed'];
console.log('mode'.padEnd(28) + heads.map((head) => head.padStart(11)).join(''));
for (const mode of modes) {
  const sums = { ticks: 0, executed: 0, held: 0, droppedRows: 0, superseded: 0 };
  let failures = 0;
  for (let seed = firstSeed; seed < firstSeed + episodes; seed++) {
    const report = await runEpisode(mode, seed);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += report[key];
    if (report.problems.length === 0) continue;
    failures++;
    if (failures <= 5)
      console.error(`FAILED --mode "${mode}" --seed ${seed} --episodes 1: ${report.problems.join('; ')}`);
    if (values.bail) break;
  }
  failed += failures;
  const columns = [episodes, ...Object.values(sums), failures];
  console.log(mode.padEnd(28) + columns.map((n) => String(n).padStart(11)).join(''));
}
process.exitCode = failed === 0 ? 0 : 1;
