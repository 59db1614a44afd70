/**
 * Mistakes made on purpose, by a switch of the stand-in (test/runtime/fake/environment.h): each must be noticed by the
 * comparison with the twin's actions, and those of an engine by the check that every engine goes through when it is first
 * loaded. On the trained policy, whose 50 observations have frames of one size and sentences of few lengths: what a call
 * leaves behind is what the next one of the same sizes would take for its own.
 */

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { withDevice } from '../runtime/fakeTensorRt.ts';
import { cubes, type KnownSample, variants } from './cases.ts';
import { openOnStandIn, predictSample } from './compare.ts';
import { longStandInTests, standInTest } from './standIn.ts';

const test = suite('mistakes on the device path');

const known = cubes();
const saying = (instruction: string): readonly KnownSample[] =>
  known.samples.filter((sample) => sample.instruction === instruction);
/** Another sentence of the same length. */
const otherSentence = [saying('pick up the left box')[0]!, saying('pick up the right box')[0]!];
const otherFrames = saying('pick up the right box').slice(0, 2);

/** How it shows; null: it does not. */
async function noticed(
  wrong: string,
  samples: readonly KnownSample[],
  options: PolicyOptions = {},
): Promise<string | null> {
  const body = async (): Promise<string | null> => {
    try {
      await using policy = await openOnStandIn(known, options);
      for (const [i, sample] of samples.entries()) {
        const { normalized } = await predictSample(policy, sample);
        if (!(maxAbsDifference(normalized, sample.actions) <= known.tolerance)) return `actions of call ${i}`;
      }
      return null;
    } catch (error) {
      if (error instanceof SemanticVlaError) return error.code;
      throw error;
    }
  };
  return wrong === '' ? body() : withDevice(`wrong=${wrong}`, body);
}

standInTest(test, 'without a mistake nothing is noticed', async () => {
  // and the engines are built and checked, so that what follows meets the comparison
  assert.is(await noticed('', [...otherSentence, ...otherFrames]), null);
});

for (const [wrong, samples, shown] of [
  ['swapWeights', otherFrames, 'actions of call 0'],
  ['rowOffset:tail_embeddings', otherFrames, 'actions of call 0'],
  // the first call is right: it is the next one that gets what the first one left
  ['staleState', otherSentence, 'actions of call 1'],
  ['lateCopies', otherFrames, 'actions of call 1'],
  // the session asks for the time of work that is not over
  ['noWait', otherFrames, 'DEVICE_FAILED'],
] as const) {
  standInTest(test, `${wrong}: noticed`, async () => {
    assert.is(await noticed(wrong, samples), shown);
  });
}

longStandInTests(test, 'other inputs, and what the check of an engine refuses', () => {
  for (const name of ['images', 'rotary_cos', 'siglip_text_tokens']) {
    standInTest(test, `${name} read one row late: noticed`, async () => {
      assert.is(await noticed(`rowOffset:${name}`, otherFrames), 'actions of call 0');
    });
  }

  for (const wrong of ['swapWeights', 'rowOffset:images', 'rowOffset:tail_embeddings', 'lateCopies']) {
    standInTest(test, `${wrong}: the engine's own check refuses it before anybody predicts`, async () => {
      const cacheDir = mkdtempSync(join(scratchFolder(), 'fresh-'));
      assert.is(await noticed(wrong, otherFrames, { cacheDir }), 'ENGINE_CHECK_FAILED');
    });
  }

  standInTest(test, 'a discrete head in bfloat16: its own check still refuses what is wrong', async () => {
    const discrete = variants().find(({ name }) => name === 'discrete')!;
    for (const wrong of ['none', 'rowOffset:tail_embeddings', 'rowOffset:images']) {
      const cacheDir = mkdtempSync(join(scratchFolder(), 'fresh-'));
      const opened = withDevice(`wrong=${wrong}`, async () => {
        await (await openOnStandIn(discrete, { cacheDir, precision: 'bfloat16' })).close();
        return 'opened';
      });
      const code = await opened.catch((error: SemanticVlaError) => error.code);
      assert.is(code, wrong === 'none' ? 'opened' : 'ENGINE_CHECK_FAILED', wrong);
    }
  });
});

test.run();
