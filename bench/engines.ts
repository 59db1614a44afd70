/**
 * What TensorRT compiles the full-size architectures to, one target at a time, weights bound: build time, memory, plan
 * size, kernels. Needs no GPU with TensorRT-RTX. Each row is a process of its own, so that its peak memory is its own.
 *
 *   node --import tsx bench/engines.ts [--presets libero,lite,aloha,oft] [--targets 80,86,89,120]
 *     [--precision bfloat16] [--prompt-length 32] [--out bench/results/engines.json]
 *
 * `--prompt-length N` fixes the prompt; without it one plan serves 8 to 128 tokens.
 */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { kernelsPerBlock } from '../lib/engine/auditPlan.ts';
import { buildPolicyEngines } from '../lib/engine/buildPolicyEngines.ts';
import { findTensorRt } from '../lib/engine/findTensorRt.ts';
import { presetArchitecture } from '../lib/engine/presetArchitecture.ts';
import type { Precision } from '../lib/graph/onnxModel.ts';
import { type SynthPreset, synthPresets } from '../lib/synth/presets.ts';

const { values } = parseArgs({
  options: {
    presets: { type: 'string', default: 'libero,lite,aloha,oft' },
    targets: { type: 'string', default: '80,86,89,120' },
    precision: { type: 'string', default: 'bfloat16' },
    'prompt-length': { type: 'string' },
    out: { type: 'string' },
    /** One row in this process, as JSON. */
    row: { type: 'boolean', default: false },
  },
});

const chunkOf: Readonly<Record<string, number>> = { libero: 8, aloha: 25, bridge: 5 };

async function row(): Promise<object> {
  const preset = values.presets as SynthPreset;
  const target = Number(values.targets);
  const { actionDim, platform } = synthPresets[preset];
  const fixed = values['prompt-length'] === undefined ? null : Number(values['prompt-length']);
  const engines = await buildPolicyEngines(presetArchitecture(preset), {
    tensorRt: findTensorRt({ family: 'rtx1' }),
    sizes: {
      images: platform.cameras.length,
      chunk: chunkOf[platform.name]!,
      actionDim,
      proprio: true,
    },
    precision: values.precision as Precision,
    weights: 'bound',
    promptLength: fixed === null ? { min: 8, opt: 32, max: 128 } : { min: fixed, opt: fixed, max: fixed },
    targets: [target],
  });
  const part = ({ seconds, plan, audit }: (typeof engines)['policy']) => ({
    seconds: Number(seconds.toFixed(1)),
    planMB: Number((plan.byteLength / 1e6).toFixed(1)),
    layers: audit.layers,
    kernels: audit.kernels,
    inputs: audit.inputs,
    plugins: audit.plugins,
    float32Products: audit.float32Products.length,
    mostKernelsABlock: kernelsPerBlock(audit),
    trimmed: Object.fromEntries(
      audit.blocks.filter(({ trimmed }) => trimmed).map(({ block, kernels }) => [block, kernels]),
    ),
  });
  return {
    preset,
    target,
    precision: values.precision,
    promptLength: fixed ?? '8..128',
    peakRssMB: Math.round(process.resourceUsage().maxRSS / 1024),
    instruction: part(engines.instruction),
    policy: part(engines.policy),
  };
}

function all(): void {
  const rows: object[] = [];
  for (const preset of values.presets.split(',')) {
    for (const target of values.targets.split(',')) {
      const fixed = values['prompt-length'];
      const args = ['--row', '--presets', preset, '--targets', target, '--precision', values.precision];
      if (fixed !== undefined) args.push('--prompt-length', fixed);
      const self = fileURLToPath(import.meta.url);
      const text = execFileSync(process.execPath, ['--import', 'tsx', self, ...args], { encoding: 'utf8' });
      console.log(text.trim());
      rows.push(JSON.parse(text));
    }
  }
  if (values.out === undefined) return;
  const { version } = findTensorRt({ family: 'rtx1' });
  const machine = { cpus: cpus().length, memoryGB: Math.round(totalmem() / 2 ** 30), gpu: 'none' };
  writeFileSync(values.out, `${JSON.stringify({ tensorRtRtx: version, machine, rows }, null, 1)}\n`);
}

if (values.row) console.log(JSON.stringify(await row()));
else all();
