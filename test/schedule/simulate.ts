/**
 * `npm run simulate`: random episodes through every scheduler, checking what leaves for the robot.
 *
 *   npm run simulate                          100,000 episodes of each mode: a row of the table each, and the sums
 *   npm run simulate -- --mode overlapBlend   the modes whose names begin so
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
const modes = Object.keys(makers).filter((name) => name.startsWith(values.mode ?? ''));
if (modes.length === 0) {
  console.error(`simulate: expected --mode of ${Object.keys(makers).join(', ')}, found ${values.mode}`);
  process.exit(2);
}
const heads = ['episodes', 'ticks', 'executed', 'held', 'dropped', 'superseded', 'failed', 'seconds'];
const all = heads.map(() => 0);

function print(name: string, columns: readonly (string | number)[]): void {
  console.log(name.padEnd(30) + columns.map((column) => String(column).padStart(12)).join(''));
}

print('mode', heads);
for (const mode of modes) {
  const sums = { ticks: 0, executed: 0, held: 0, droppedRows: 0, superseded: 0 };
  let [played, failures] = [0, 0];
  const start = performance.now();
  for (let seed = firstSeed; seed < firstSeed + episodes; seed++) {
    const report = await runEpisode(mode, seed);
    played++;
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += report[key];
    if (report.problems.length === 0) continue;
    failures++;
    if (failures <= 5)
      console.error(`FAILED --mode "${mode}" --seed ${seed} --episodes 1: ${report.problems.join('; ')}`);
    if (values.bail) break;
  }
  const seconds = Math.round((performance.now() - start) / 1000);
  const columns = [played, ...Object.values(sums), failures, seconds];
  columns.forEach((value, i) => {
    all[i]! += value;
  });
  print(mode, columns);
}
if (modes.length > 1) print('all', all);
process.exitCode = all[heads.indexOf('failed')] === 0 ? 0 : 1;
