/**
 * `npm run fuzz`: what no robot should act upon, at random, for as long as you like (the bounded runs are tests).
 *
 *   npm run fuzz -- observations --seconds 60    faults in observations before a guarded policy
 *   npm run fuzz -- heads --seconds 60           any bits in the chunks of a policy under every scheduler and the loop
 *   npm run fuzz                                 both, 60 seconds each; --seed 17 for another story
 *
 * Exit code 1 when a fault was let through, a sound observation was refused, or a value that is not finite left the loop.
 */

import { parseArgs } from 'node:util';
import { fuzzHeads } from './fuzzHeads.ts';
import { fuzzObservations } from './fuzzObservations.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
});
const targets = { observations: fuzzObservations, heads: fuzzHeads };
const names = positionals.length === 0 ? Object.keys(targets) : positionals;
let failures = 0;
for (const name of names) {
  if (!Object.hasOwn(targets, name)) {
    console.error(`fuzz: expected ${Object.keys(targets).join(' or ')}, found ${name}`);
    process.exit(2);
  }
  failures += await targets[name as keyof typeof targets](Number(values.seconds), Number(values.seed));
}
process.exitCode = failures === 0 ? 0 : 1;
