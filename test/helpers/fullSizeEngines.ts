/**
 * The engines of the full-size architectures with bound weights: no weight is needed, only shapes. Kernels a block are those
 * of the largest whole block; the last language layer and the last DINOv2 block compute only some of their rows.
 *
 * Two presets a file of tests: a build of one takes most of a minute on a busy machine.
 */

import type { Test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelsPerBlock } from '../../lib/engine/auditPlan.ts';
import { buildPolicyEngines, type PolicyEngines } from '../../lib/engine/buildPolicyEngines.ts';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { synthPresets } from '../../lib/synth/presets.ts';
import { testWhen } from './skip.ts';
import { tensorRtRtx } from './tensorRt.ts';

const finding = tensorRtRtx();

export type Preset = 'libero' | 'lite' | 'aloha' | 'oft';
const chunks: Readonly<Record<Preset, number>> = { libero: 8, lite: 8, aloha: 25, oft: 8 };

async function build(preset: Preset): Promise<PolicyEngines> {
  if (!('tensorRt' in finding)) throw new Error(finding.missing);
  const { actionDim, platform } = synthPresets[preset];
  return buildPolicyEngines(presetArchitecture(preset), {
    tensorRt: finding.tensorRt,
    sizes: { images: platform.cameras.length, chunk: chunks[preset], actionDim, proprio: true },
    precision: 'bfloat16',
    weights: 'bound',
    promptLength: { min: 8, opt: 32, max: 128 },
    // one plan that serves all four
    targets: [80, 86, 89, 120],
  });
}

export function fullSizeTest(fullSize: Test, preset: Preset): void {
  testWhen(
    'tensorRt' in finding,
    'missing' in finding ? finding.missing : '',
    fullSize,
    `${preset}: sm_80, 86, 89, 120`,
    async () => {
      const { instruction, policy } = await build(preset);
      for (const { audit } of [instruction, policy]) assert.equal(audit.problems, []);
      const pruned = preset !== 'oft';
      assert.equal(policy.audit.plugins, {
        ...(pruned ? { instructionTopK: 1, textGuidedPooling: 1 } : {}),
        channelConcat: 1,
      });
      const most = kernelsPerBlock(policy.audit);
      const { llama, dinov2, siglip } = synthPresets[preset];
      const whole = (kind: string) =>
        policy.audit.blocks.filter(({ block, trimmed }) => block.startsWith(kind) && !trimmed).length;
      assert.is(whole('llama/layer'), llama.layers - 1);
      assert.is(whole('dinov2/block'), pruned ? dinov2.depth - 1 : dinov2.depth - 1);
      assert.is(whole('siglip/block'), pruned ? siglip.depth : siglip.depth - 1);
      assert.ok(most['llama/layer']! <= 9, `${most['llama/layer']} kernels a language layer`);
      assert.ok(most['dinov2/block']! <= 8, `${most['dinov2/block']} kernels a DINOv2 block`);
      assert.ok(most['siglip/block']! <= 8, `${most['siglip/block']} kernels a SigLIP block`);
      // without weights: a few hundred kernels and tables
      assert.ok(policy.plan.byteLength < 64e6, `${policy.plan.byteLength} bytes`);
      const rss = Math.round(process.resourceUsage().maxRSS / 1024);
      console.log(
        `${preset}: instruction ${instruction.seconds.toFixed(1)} s ${(instruction.plan.byteLength / 1e6).toFixed(1)} MB ${instruction.audit.kernels} kernels; ` +
          `policy ${policy.seconds.toFixed(1)} s ${(policy.plan.byteLength / 1e6).toFixed(1)} MB ${policy.audit.kernels} kernels, a block ${JSON.stringify(most)}; peak RSS ${rss} MB`,
      );
    },
  );
}
