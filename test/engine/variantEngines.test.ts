/**
 * Engines of the policies that differ most from the goldens: mixture of experts, discrete tokens, samplers on both towers,
 * blocks that run again and images that are no multiple of the patch.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { buildPolicyEngines } from '../../lib/engine/buildPolicyEngines.ts';
import { checkpointOptions } from '../../lib/policy/policyParts.ts';
import { testWhen } from '../helpers/skip.ts';
import { tensorRtRtx } from '../helpers/tensorRt.ts';
import { variant } from '../helpers/variants.ts';

const engines = suite('engine/variantEngines');
const finding = tensorRtRtx();

const plugins: Readonly<Record<string, Record<string, number>>> = {
  'both-samplers': { instructionTopK: 2, textGuidedPooling: 2, channelConcat: 1 },
  discrete: { instructionTopK: 1, textGuidedPooling: 1, channelConcat: 1 },
  moe: { instructionTopK: 1, textGuidedPooling: 1 },
  'repeated-pairs': { instructionTopK: 1, textGuidedPooling: 1, channelConcat: 1 },
};

for (const [name, expected] of Object.entries(plugins)) {
  const reason = 'missing' in finding ? finding.missing : '';
  testWhen('tensorRt' in finding, reason, engines, name, async () => {
    if (!('tensorRt' in finding)) throw new Error(finding.missing);
    const { checkpoint, case: policy } = variant(name);
    const { cameras, chunk, proprio } = policy.options;
    const opened = await openCheckpoint(checkpoint, checkpointOptions(policy.options));
    const { policy: built } = await buildPolicyEngines(opened, {
      tensorRt: finding.tensorRt,
      sizes: { images: cameras.length, chunk, actionDim: policy.action_dim, proprio },
      precision: 'bfloat16',
      weights: 'bound',
      promptLength: { min: 8, opt: 32, max: 96 },
      targets: [89],
    });
    assert.equal(built.audit.problems, []);
    assert.equal(built.audit.plugins, expected);
  });
}

engines.run();
