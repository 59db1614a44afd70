/**
 * `semanticvla serve` without a model: a policy that takes a given time, one request at a time, as a GPU would. It takes the
 * flags of `serve` that a fleet passes, and prints its URLs as `serve --json` does.
 */

import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';

const { values } = parseArgs({
  options: {
    latency: { type: 'string', default: 'constant(40)' },
    host: { type: 'string', default: '127.0.0.1' },
    act: { type: 'string', default: '0' },
    openpi: { type: 'string', default: '0' },
    json: { type: 'boolean' },
  },
});

/** [8, 7]: a robot that asks ten times a second has 0.8 s of actions. */
const policy = simulatedPolicy({
  dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'],
  chunk: 8,
  latency: parseLatency(values.latency),
});
const token = process.env.SEMANTICVLA_TOKEN;
const server = await servePolicy(policy, {
  host: values.host,
  act: { port: Number(values.act) },
  openpi: { port: Number(values.openpi) },
  logger: pino({ level: 'silent' }),
  ...(token ? { token } : {}),
});
console.log(JSON.stringify({ act: server.actUrl, openpi: server.openpiUrl }));
process.once('SIGTERM', () => void server.close().then(() => policy.close()));
