/** A policy and a logger written by a user: invalid results are never sent to clients, and none of them stops the server. */

import type { Logger } from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectOpenpi } from '../../lib/client/connect.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Policy } from '../../lib/types.ts';
import { brokenChunks, goodChunk } from '../support/chunks.ts';
import { FakePolicy } from './fakePolicy.ts';
import { actBody, post, served, until } from './harness.ts';

const test = suite('what users bring to a server');

/** Answers what it is told to. */
function answering(answer: () => unknown): Policy {
  const policy = new FakePolicy({ dimensions: ['x', 'y', 'z'] });
  policy.predict = async () => answer() as ActionChunk;
  return policy;
}

test('a broken chunk of a policy is no answer, and the next one is', async () => {
  let chunk: unknown;
  await served(
    answering(() => chunk),
    {},
    async ({ act, openpi }) => {
      for (const [name, { code, make }] of Object.entries(brokenChunks)) {
        chunk = make(goodChunk(4));
        const response = await post(act, actBody());
        assert.is(response.status, 500, name);
        const { error } = (await response.json()) as { error: { code: string } };
        assert.is(error.code, code, name);
      }
      await using remote = await connectOpenpi(openpi, { deadlineMs: 15_000 });
      const image = { data: new Uint8Array(12), width: 2, height: 2 };
      const observation = { images: { full_image: image, wrist_image: image }, state: [0, 0, 0] };
      // openpi's server ends the connection with an error; the client comes back
      const ask = async (): Promise<ActionChunk> => {
        await until(() => remote.reachable, 'its return');
        return remote.predict(observation, { instruction: 'go' });
      };
      for (const name of ['undefined', 'without actions', 'NaN']) {
        chunk = brokenChunks[name]!.make(goodChunk(4));
        const error = await ask().catch((reason: unknown) => reason);
        assert.instance(error, SemanticVlaError, name);
      }
      chunk = goodChunk(4);
      assert.equal([...(await ask()).actions], [...goodChunk(4).actions]);
      assert.is((await post(act, actBody())).status, 200);
    },
  );
});

test('a logger that throws or rejects loses lines, and nothing else', async () => {
  let lines = 0;
  const harmful = (): never => {
    if (lines++ % 2 === 0) throw new Error('disk full');
    return Promise.reject(new Error('disk full')) as never;
  };
  const logger = { info: harmful, warn: harmful, error: harmful } as unknown as Logger;
  await served(
    answering(() => goodChunk(2)),
    { logger },
    async ({ act }) => {
      for (let i = 0; i < 3; i++) assert.is((await post(act, actBody())).status, 200);
      assert.is((await post(act, '{')).status, 400);
    },
  );
  assert.ok(lines >= 4, `${lines}`);
  for (const wrong of [null, 5, {}, { info: 'x' }]) {
    const error = await servePolicy(
      answering(() => null),
      { logger: wrong as never, act: { port: 0 } },
    ).catch((reason: unknown) => reason);
    assert.is((error as SemanticVlaError).code, 'OPTION_INVALID');
  }
});

test.run();
