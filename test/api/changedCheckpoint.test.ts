/** A checkpoint that changes under a loaded policy: folded weights are in memory, mapped ones are checked. */

import { copyFileSync, linkSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { cpuSessionOptions } from '../../lib/policy/cpuModels.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { gatherParts } from '../../lib/policy/policyParts.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Policy } from '../../lib/types.ts';
import { fileNamed } from '../checkpoint/editCheckpoint.ts';
import { goldenCopy } from '../helpers/golden.ts';

const test = suite('a checkpoint that changes under a policy');
const platform = { platform: 'libero', unnormKey: 'libero_object_no_noops', threads: 1 } as const;
const observation = {
  images: {
    full_image: { data: new Uint8Array(3 * 64 * 64).fill(90), width: 64, height: 64 },
    wrist_image: { data: new Uint8Array(3 * 64 * 64).fill(30), width: 64, height: 64 },
  },
  state: [0, 0, 0, 0, 0, 0, 0, 0],
};

async function actions(policy: Policy, instruction: string): Promise<string> {
  return (await policy.predict(observation, { instruction })).actions.join();
}

async function refused(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.instance(error, SemanticVlaError);
  const { code, message } = error as SemanticVlaError;
  return `${code} ${message}`;
}

async function withCopy(work: (dir: string, shard: string) => Promise<void>): Promise<void> {
  const dir = goldenCopy('oft-tiny');
  try {
    await work(dir, fileNamed(dir, 'model-00001'));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test('folded: every file may be cut, overwritten or removed', async () => {
  await withCopy(async (dir, shard) => {
    const policy = await loadPolicy(dir, { ...platform, weights: 'folded' });
    const before = await actions(policy, 'x');
    truncateSync(shard, 100);
    writeFileSync(fileNamed(dir, 'action_head'), Buffer.alloc(200_000, 0x40));
    assert.is(await actions(policy, 'x'), before);
    await actions(policy, 'another sentence');
    rmSync(dir, { recursive: true });
    assert.is(await actions(policy, 'x'), before);
    await policy.close();
  });
});

test('mapped: what was written in place is refused by name; what was replaced or touched elsewhere changes nothing', async () => {
  await withCopy(async (dir, shard) => {
    const copy = `${shard}.copy`;
    copyFileSync(shard, copy);
    const policy = await loadPolicy(dir, { ...platform, weights: 'mapped' });
    const before = await actions(policy, 'x');
    // a rename leaves the mapped file as it was
    renameSync(copy, shard);
    assert.is(await actions(policy, 'x'), before);
    await policy.close();

    utimesSync(shard, 1000, 1000);
    const second = await loadPolicy(dir, { ...platform, weights: 'mapped' });
    // another name for the file, as a backup creates it, changes nothing
    linkSync(shard, copy);
    assert.is(await actions(second, 'x'), before);
    rmSync(copy);
    // set back to its old time, as by cp -p
    utimesSync(shard, 1000, 1000);
    assert.match(await refused(actions(second, 'x')), /^CHECKPOINT_CHANGED .*given its old time/);
    utimesSync(shard, 1, 1);
    assert.match(
      await refused(actions(second, 'x')),
      /^CHECKPOINT_CHANGED .*model-00001.*Load the policy again/,
    );
    truncateSync(shard, 100);
    assert.match(await refused(actions(second, 'y')), /^CHECKPOINT_CHANGED .*found 100/);
    await second.close();
  });
});

test('a file that changed between opening and loading is refused, whoever reads the weights', async () => {
  await withCopy(async (dir, shard) => {
    const checkpoint = await openCheckpoint(dir);
    const parts = await gatherParts(checkpoint, platform);
    utimesSync(shard, 1, 1);
    for (const weights of ['folded', 'mapped'] as const) {
      const opening = OnnxSession.open(await cpuSessionOptions(parts, { weights }));
      assert.match(await refused(opening), /^CHECKPOINT_CHANGED .*model-00001/);
    }
    rmSync(shard);
    const opening = OnnxSession.open(await cpuSessionOptions(parts, {}));
    assert.match(await refused(opening), /^CHECKPOINT_FILE_MISSING /);
  });
});

test.run();
