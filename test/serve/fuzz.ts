/**
 * The properties of wire.test.ts over a running server, for as long as wanted: any message ends in a code, and the server
 * still answers a good one.
 *
 *   node --import tsx test/serve/fuzz.ts [--seconds 600] [--seed 1]
 */

import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { FakePolicy } from './fakePolicy.ts';
import { actBody, connect, fields, post, served, toJson } from './harness.ts';
import { hostileJson, hostileMsgpack } from './hostile.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '600' }, seed: { type: 'string', default: '1' } },
});

const json = Buffer.from(toJson(fields()));
const encoded = Buffer.from(JSON.stringify({ encoded: toJson(fields()) }));
const msgpack = encodeMsgpackNumpy(fields());
const seeds = [
  json,
  encoded,
  msgpack,
  ...[...hostileJson(), ...hostileMsgpack()].map(([, text]) => Buffer.from(text)),
].filter(({ length }) => length > 0 && length < 10_000);

/** A known message with bytes changed, cut, doubled or spliced with another. */
const mutated = fc
  .tuple(
    fc.constantFrom(...seeds),
    fc.constantFrom(...seeds),
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 8 }),
    fc.nat({ max: 3 }),
    fc.nat(),
  )
  .map(([one, other, changes, kind, place]) => {
    const copy = Buffer.from(one);
    for (const [at, byte] of changes) copy[at % copy.length] = byte;
    const cut = place % copy.length;
    if (kind === 1) return copy.subarray(0, cut);
    if (kind === 2) return Buffer.concat([copy.subarray(0, cut), other]);
    return kind === 3 ? Buffer.concat([copy, copy.subarray(cut)]) : copy;
  });

const deadline = performance.now() + Number(values.seconds) * 1000;
let messages = 0;
await served(new FakePolicy({ immediate: true }), {}, async ({ act, openpi }) => {
  const samples = fc.sample(fc.integer(), { numRuns: 100_000, seed: Number(values.seed) });
  for (const seed of samples) {
    if (performance.now() > deadline) break;
    for (const message of fc.sample(mutated, { numRuns: 50, seed })) {
      messages++;
      const answer = await post(act, Uint8Array.from(message));
      const text = await answer.text();
      if (![200, 400, 413, 422].includes(answer.status) || /\.ts|node_modules/.test(text)) {
        throw new Error(`seed ${seed}: ${answer.status} ${text} for ${message.toString('base64')}`);
      }
      const { socket, next, closed } = connect(openpi);
      await next();
      socket.send(message);
      const frame = await next();
      if (typeof frame === 'string' && !/^[A-Z_]+: /.test(frame)) {
        throw new Error(`seed ${seed}: ${frame} for ${message.toString('base64')}`);
      }
      socket.terminate();
      await closed;
    }
    if ((await post(act, actBody())).status !== 200)
      throw new Error(`seed ${seed}: no answer to a good request`);
  }
});
process.stdout.write(`${messages} messages to each protocol, every one answered with a value or a code\n`);
