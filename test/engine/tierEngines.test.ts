/**
 * Engines in fewer bits: the language model at its full widths. Without SEMANTICVLA_LONG_TESTS four layers and small towers, since
 * each layer is compiled like the one before it; with it LIBERO at full size, and with SEMANTICVLA_ALL_ENGINES=1 each architecture
 * (or those whose label its value matches: `^(lite|oft), int8`).
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PlanAudit } from '../../lib/engine/auditPlan.ts';
import { type BuildPolicyOptions, buildPolicyEngines } from '../../lib/engine/buildPolicyEngines.ts';
import {
  type Architecture,
  presetArchitecture,
  presetSizes,
  specArchitecture,
} from '../../lib/engine/presetArchitecture.ts';
import { requireTier } from '../../lib/engine/recipes.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import type { EngineTypes, Tier } from '../../lib/graph/tiers.ts';
import { errorOf } from '../checkpoint/editCheckpoint.ts';
import { testWhen } from '../helpers/skip.ts';
import { tensorRtRtx } from '../helpers/tensorRt.ts';

const engines = suite('engine/tierEngines');
const finding = tensorRtRtx();
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const every = process.env.SEMANTICVLA_ALL_ENGINES;
const presets = ['libero', 'lite', 'aloha', 'oft'] as const;
type Preset = (typeof presets)[number];

/** Targets, and kernels of a layer that is neither the first nor the last. */
const expected: Readonly<Record<Tier, { readonly targets: readonly number[]; readonly kernels: number }>> = {
  int8: { targets: [80, 86, 89, 120], kernels: 10 },
  fp8: { targets: [89, 120], kernels: 10 },
};

/**
 * Of fp8 where the sequence is longer than LIBERO's: TensorRT-RTX 1.7.1 keeps two residuals and two roundings apart that it joins
 * to their neighbours in `int8`, and for LIBERO in fp8 (docs/precision.md). Known, not wanted.
 */
const apart: Readonly<Partial<Record<Preset, number>>> = { aloha: 4, oft: 4 };

function options(preset: Preset, types: EngineTypes, targets: readonly number[]): BuildPolicyOptions {
  if (!('tensorRt' in finding)) throw new Error(finding.missing);
  const { tensorRt } = finding;
  const promptLength = { min: 8, opt: 32, max: 128 };
  return { tensorRt, sizes: presetSizes(preset), ...types, weights: 'bound', promptLength, targets };
}

function small(preset: Preset): Architecture {
  const spec = twinSpec(presetArchitecture(preset).config);
  return specArchitecture({ ...spec, llama: { ...spec.llama, layers: 4 } });
}

function checkLanguageModel(audit: PlanAudit, layers: number, tier: Tier, preset: Preset = 'libero'): void {
  const most = expected[tier].kernels + (tier === 'fp8' ? (apart[preset] ?? 0) : 0);
  assert.equal(audit.problems, []);
  // q apart in the last layer
  assert.equal(audit.tierProducts, { found: 4 * layers + 1, lost: [] });
  assert.is(audit.plugins.swigluLevels ?? 0, tier === 'int8' ? layers : 0);
  // the trimmed last layer begins in the kernel that ends the one before it
  for (let n = 1; n < layers - 2; n++) {
    const found = audit.blocks.find(({ block }) => block === `llama/layer${n}`)!;
    assert.ok(found.kernels <= most, `layer ${n}: ${found.kernels} kernels`);
  }
}

function isWhole(label: string): boolean {
  if (every === undefined) return isLong && label.startsWith('libero');
  return every === '1' || new RegExp(every).test(label);
}

function tierTest(
  tier: Tier,
  precision: EngineTypes['precision'],
  wholes: readonly Preset[] = presets,
): void {
  const { targets } = expected[tier];
  const reason = 'missing' in finding ? finding.missing : '';
  const label = `${tier} in ${precision}, sm_${targets.join(', ')}`;
  testWhen('tensorRt' in finding, reason, engines, label, async () => {
    const { policy, instruction } = await buildPolicyEngines(
      small('libero'),
      options('libero', { precision, tier }, targets),
    );
    assert.equal(instruction.audit.problems, []);
    checkLanguageModel(policy.audit, 4, tier);
    const bound = policy.bindings.filter(({ parts }) => parts.length === 0);
    assert.is(bound.length, 2 * (4 * 4 + 1), 'levels and scales');
  });
  for (const preset of wholes.filter((name) => isWhole(`${name}, ${label}`))) {
    testWhen('tensorRt' in finding, reason, engines, `${preset}, ${label}`, async () => {
      const architecture = presetArchitecture(preset);
      const built = await buildPolicyEngines(architecture, options(preset, { precision, tier }, targets));
      const { audit, plan, seconds } = built.policy;
      checkLanguageModel(audit, architecture.config.llama.layers, tier, preset);
      assert.ok(plan.byteLength < 96e6, `${plan.byteLength} bytes`);
      const most = Math.max(...audit.blocks.flatMap((b) => (/layer[1-9]$/.test(b.block) ? [b.kernels] : [])));
      console.log(
        `${preset}, ${label}: ${seconds.toFixed(1)} s, ${(plan.byteLength / 1e6).toFixed(1)} MB, ${audit.kernels} kernels, ${most} a language layer; peak RSS ${Math.round(process.resourceUsage().maxRSS / 1024)} MB`,
      );
    });
  }
}

tierTest('int8', 'bfloat16');
tierTest('fp8', 'bfloat16');
if (every !== undefined) tierTest('int8', 'float16', ['libero']);

testWhen(
  'tensorRt' in finding,
  'missing' in finding ? finding.missing : '',
  engines,
  'what cannot be is refused by name',
  async () => {
    const types = { precision: 'bfloat16', tier: 'int8' } as const;
    const baked = { ...options('libero', types, [89]), weights: 'baked' } as const;
    const error = await errorOf(buildPolicyEngines(small('libero'), baked));
    assert.is(error.code, 'OPTION_INVALID');
    assert.match(error.message, /expected bound with precision int8/);
  },
);

engines('a device without such tensor cores is named', () => {
  let message = '';
  try {
    requireTier('int8', 70);
  } catch (error) {
    message = (error as Error).message;
  }
  assert.match(message, /precision int8: expected compute capability sm_75 or newer.*found sm_70/);
});

engines.run();
