import { lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { neededSteps, towerSchedule } from '../../lib/checkpoint/towerSchedule.ts';
import { exportPolicy } from '../../lib/export/exportPolicy.ts';
import { names, towerNames } from '../../lib/graph/names.ts';
import { towerTokens } from '../../lib/graph/tokenCounts.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { type Exported, exported, policyNames, readModel } from './exported.ts';

const test = suite('exported graphs');

/** First parts of the paths: the model's own blocks, or a tensor of the checkpoint that is widened, or an output. */
const blocks =
  /^(patches|dinov2|siglip|exchange\d+|dinov2_pruner|siglip_pruner|fuser|proprio|sequence|llama|head|actions|prompt|e_avg|film|router|rotary|mask|text|text_mask|siglip_text|dinov2_text|discrete)$/;

function weightNames(file: string): string[] {
  return readModel(file)
    .graph.initializer.filter(({ externalData }) => externalData.length > 0)
    .map(({ name }) => name);
}

/** One prediction with additional values of the graphs as outputs: their shapes as the runtime sees them. */
async function observedShapes(
  { models, samples }: Exported,
  wanted: readonly string[],
): Promise<Record<string, readonly number[]>> {
  const policy = {
    ...models.policy,
    outputs: [
      ...models.policy.outputs,
      ...wanted.map((name) => ({ name, type: 'float32' as const, shape: ['rows', 'columns'] })),
    ],
  };
  const session = await OnnxSession.open({
    instruction: models.instruction,
    policy,
    threads: 1,
    weights: 'mapped',
  });
  try {
    const sample = samples[0]!;
    const state = await session.encodeInstruction(sample);
    const { outputs } = await session.runRaw(sample, state);
    const difference = maxAbsDifference(outputs[names.actions]!.data as Float32Array, sample.normalized);
    // the same bound as for the goldens through loadPolicy
    assert.ok(difference <= 5e-5, `actions differ by ${difference}`);
    return Object.fromEntries(wanted.map((name) => [name, outputs[name]!.dims]));
  } finally {
    await session.close();
  }
}

for (const name of policyNames) {
  test(`${name}: weights stay where they are, nothing else is written`, async () => {
    const { dir, report, added, parts } = await exported(name);
    assert.equal([...added].sort(), ['instruction.onnx', 'policy.onnx']);
    const regions = new Map<string, [number, number][]>();
    for (const { file, offset, byteLength } of parts.checkpoint.tensors.values()) {
      regions.set(file, [...(regions.get(file) ?? []), [offset, offset + byteLength]]);
    }
    for (const model of ['instruction', 'policy'] as const) {
      let inline = 0;
      for (const { name: weight, rawData, externalData } of readModel(report[model].file).graph.initializer) {
        inline += rawData?.length ?? 0;
        if (externalData.length === 0) continue;
        const { location, offset, length } = Object.fromEntries(
          externalData.map(({ key, value }) => [key, value]),
        );
        const file = report.weights.find((entry) => entry.location === location)?.file;
        const [from, to] = [Number(offset), Number(offset) + Number(length)];
        assert.ok(to <= statSync(join(dir, location!)).size, `${weight} ends inside ${location}`);
        const inside = regions.get(file!)?.some(([start, end]) => start <= from && to <= end);
        assert.ok(inside, `${weight} is a tensor of the checkpoint, or a part of one`);
      }
      // constants, the largest of which are the placeholders' zero rows
      const zeros = 4 * (await exported(name)).tokens.placeholders * parts.checkpoint.config.llama.width;
      assert.ok(inline <= zeros + 16384, `${model}.onnx holds ${inline} bytes of constants`);
    }
    for (const { how } of report.weights) assert.is(how, 'in place');
  });

  test(`${name}: names are paths of the model's blocks, pruner and fuser are local functions`, async () => {
    const { report, models, parts } = await exported(name);
    const { config, tensors } = parts.checkpoint;
    const outputs = new Set([...models.instruction.outputs, ...models.policy.outputs].map((o) => o.name));
    for (const model of ['instruction', 'policy'] as const) {
      const { graph, functions, opsetImport } = readModel(report[model].file);
      const seen = new Set<string>();
      for (const { name: node } of graph.node) {
        assert.not.ok(seen.has(node), `${node} is there once`);
        seen.add(node);
        if (outputs.has(node)) continue;
        assert.match(node, /^[A-Za-z_][\w.]*(\[[\dx:]+\])?(\/[A-Za-z_][\w.]*(\[[\dx:]+\])?)*$/, node);
        const first = node.split('/')[0]!.replace(/\[.*$/, '');
        assert.ok(blocks.test(first) || tensors.has(first), `${node}: ${first} is no block and no tensor`);
      }
      const called = new Set(
        graph.node.filter(({ domain }) => domain !== '' && domain !== undefined).map((n) => n.opType),
      );
      assert.equal(functions.map((f) => f.name).sort(), [...called].sort());
      for (const { domain } of functions) assert.is(domain, 'semanticvla');
      if (model === 'instruction') continue;
      const samplers = towerNames.flatMap((tower) => config[tower].sampler ?? []);
      assert.is(called.has('instructionTopK'), samplers.length > 0);
      assert.is(
        called.has('textGuidedPooling'),
        samplers.some(({ textTopk }) => textTopk > 0),
      );
      assert.is(called.has('channelConcat'), config.aggregation === 'concat');
      if (called.size > 0) assert.ok(opsetImport.some(({ domain }) => domain === 'semanticvla'));
    }
  });

  test(`${name}: the prompt length is a symbol, selection and similarity are outputs`, async () => {
    const { models, parts } = await exported(name);
    const { config } = parts.checkpoint;
    const symbols = (values: typeof models.policy.inputs, key: string) =>
      values.find((value) => value.name === key)!.shape.filter((dim) => typeof dim === 'string');
    assert.is(symbols(models.instruction.inputs, names.promptIds).length, 1);
    assert.is(symbols(models.policy.inputs, names.tailEmbeddings).length, 1);
    assert.is(symbols(models.policy.inputs, names.rotaryCos).length, 1);
    assert.is(symbols(models.policy.outputs, names.actions).length, 0);
    const expected = towerNames
      .filter((tower) => config[tower].sampler !== null)
      .flatMap((tower) => [names.keptPatches(tower), names.similarity(tower)]);
    const found = models.policy.outputs.map((output) => output.name);
    const tokens = config.head.kind === 'discrete' ? [names.tokenIds] : [];
    assert.equal([...found].sort(), [...expected, ...tokens, names.actions].sort());
  });

  test(`${name}: exact savings`, async () => {
    const result = await exported(name);
    const { report, parts, tokens, models } = result;
    const { config } = parts.checkpoint;
    const { images } = parts.sizes;
    const policy = weightNames(report.policy.file);
    const instruction = weightNames(report.instruction.file);

    const has = (list: readonly string[], pattern: RegExp) => list.some((weight) => pattern.test(weight));
    assert.is(has(policy, /lm_head/), config.head.kind === 'discrete', 'no output layer');
    assert.not.ok(
      has(policy, /embed_tokens|text_encoder|text_post_projector|\.(scale|shift)\.|router/),
      'per sentence',
    );
    assert.not.ok(
      has(instruction, /\.blocks\.\d+\.(attn|mlp|norm)|model\.layers\.|projector\.fc|action_head|lm_head/),
      'per frame',
    );
    assert.not.ok(has(policy, /attn_pool|featurizer\.norm\./), 'unused parts of the towers');
    for (const [tower, prefix] of [
      ['dinov2', 'featurizer'],
      ['siglip', 'fused_featurizer'],
    ] as const) {
      const used = policy.flatMap((weight) => {
        const match = new RegExp(`^vision_backbone\\.${prefix}\\.blocks\\.(\\d+)\\.`).exec(weight);
        return match ? [Number(match[1])] : [];
      });
      assert.is(Math.max(...used), config[tower].outputBlock, `${tower}: blocks after the output block`);
    }

    // one node a block serves all cameras: the weights of a block appear once, its rows are those of all images
    const nodes = models.policy.nodes.map((node) => node.name);
    const { dinov2, siglip, llama } = config;
    const last = llama.layers - 1;
    const mlp = (tower: string, block: number) => `${tower}/block${block}/mlp/fc1`;
    const lastDino = leavingMlp(config);
    const wanted = [
      mlp('dinov2', 0),
      lastDino,
      mlp('siglip', 0),
      ...(last > 0 ? ['llama/layer0/mlp/gate'] : []),
      `llama/layer${last}/mlp/gate`,
      `llama/layer${last}/attn/k_proj`,
    ];
    for (const node of wanted) assert.is(nodes.filter((n) => n === node).length, 1, node);
    const shapes = await observedShapes(result, wanted);
    const rows = (node: string) => shapes[node]![0];
    const sequence = result.samples[0]!.promptIds.length - 1 + tokens.besidePrompt;
    const dinoRows = dinov2.prefixTokens + dinov2.patches + dinov2.queries;
    if (dinov2.outputBlock > 0) assert.is(rows(mlp('dinov2', 0)), images * dinoRows);
    const kept = dinov2.queries > 0 && !exchangedLast(config) ? towerTokens(dinov2) : dinoRows;
    assert.is(rows(lastDino), images * kept, 'last DINOv2 block');
    assert.is(rows(mlp('siglip', 0)), images * (siglip.patches + siglip.queries + siglip.prefixTokens));
    if (last > 0) assert.is(rows('llama/layer0/mlp/gate'), sequence);
    assert.is(rows(`llama/layer${last}/mlp/gate`), tokens.placeholders, 'last language layer');
    assert.is(rows(`llama/layer${last}/attn/k_proj`), sequence, 'its keys');
  });
}

test('into another folder: weights are links to the same bytes, no copy', async () => {
  const { parts, dir } = await exported('libero-tiny');
  for (const link of ['hard', 'symbolic'] as const) {
    const out = join(dir, `../onnx-${link}`);
    const report = await exportPolicy(parts.checkpoint, { sizes: parts.sizes, out, link });
    assert.ok(report.weights.length > 2);
    for (const { location, file, how } of report.weights) {
      assert.is(how, `${link} link`);
      assert.is(statSync(join(out, location)).ino, statSync(file).ino, location);
    }
    const own = readdirSync(out).filter(
      (name) => lstatSync(join(out, name)).nlink === 1 && !lstatSync(join(out, name)).isSymbolicLink(),
    );
    assert.equal(own.sort(), ['instruction.onnx', 'policy.onnx']);
  }
});

/** The node of the run of DINOv2's output block after which its tokens leave: an exchange may make blocks run again. */
function leavingMlp(config: Exported['parts']['checkpoint']['config']): string {
  const { steps, leaves } = neededSteps(towerSchedule(config));
  const { outputBlock } = config.dinov2;
  const runs = steps
    .slice(0, leaves.dinov2 + 1)
    .filter((step) => 'tower' in step && step.tower === 'dinov2' && step.block === outputBlock).length;
  return `dinov2/block${outputBlock}${runs === 1 ? '' : `_run${runs}`}/mlp/fc1`;
}

/** An exchange after the output block needs that block's patches. */
function exchangedLast(config: Exported['parts']['checkpoint']['config']): boolean {
  return config.exchangePairs.some(([block]) => block === config.dinov2.outputBlock);
}

test.run();
