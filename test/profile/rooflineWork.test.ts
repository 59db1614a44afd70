/**
 * The work that the graph walk finds against a hand count: formulas of each block with the numbers of docs/model.md, written
 * here without a look at the graph. Exact, since both count integers.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { presetArchitecture, presetSizes } from '../../lib/engine/presetArchitecture.ts';
import { type PolicyWork, policyWork, type WorkStage } from '../../lib/profile/roofline/policyWork.ts';
import type { SynthPreset } from '../../lib/synth/presets.ts';

const work = suite('profile/roofline work');

const found = (preset: SynthPreset, promptTokens: number, complete = false): PolicyWork =>
  policyWork(presetArchitecture(preset), { ...presetSizes(preset), promptTokens }, { complete });

const stageOf = ({ stages }: PolicyWork, name: WorkStage) => stages.find(({ stage }) => stage === name)!;

// LIBERO by hand (docs/model.md, Variants and Per-frame part)

const images = 2;
const patches = 256;
const prompt = 30;
/** [BOS] [37 an image] [proprio] [P - 1] [3 * 8] [stop] */
const sequence = 1 + 37 * images + 1 + (prompt - 1) + 24 + 1;

/** Rows times a matrix of so many weights. */
const times = (rows: number, weights: number): number => 2 * rows * weights;
/** q k^T and weights times v, all heads: each 2 * q * k * width. */
const attention = (q: number, k: number, width: number): number => 4 * q * k * width;

const llama = { d: 4096, mlp: 11008, layers: 32 };
const llamaMatrices = {
  q: llama.d ** 2,
  kv: 2 * llama.d ** 2,
  o: llama.d ** 2,
  mlp: 3 * llama.d * llama.mlp,
};
const llamaLayer = llamaMatrices.q + llamaMatrices.kv + llamaMatrices.o + llamaMatrices.mlp;
const llmFull = llama.layers * (times(sequence, llamaLayer) + attention(sequence, sequence, llama.d));
/** Norms: two a layer and the last. */
const llmWeights = llama.layers * (llamaLayer + 2 * llama.d) + llama.d;

const dino = { w: 1024, mlp: 4096, layers: 24, rows: 1 + 4 + patches + 32 };
const siglip = { w: 1152, mlp: 4304, layers: 27, rows: patches };
const vitMatrices = ({ w, mlp }: { w: number; mlp: number }): number => 4 * w * w + 2 * w * mlp;
const vitFull = (vit: typeof dino): number =>
  images * vit.layers * (times(vit.rows, vitMatrices(vit)) + attention(vit.rows, vit.rows, vit.w));
/** Two norms with bias, biases of qkv, proj, fc1, fc2. */
const vitVectors = ({ w, mlp }: { w: number; mlp: number }): number => 4 * w + 3 * w + w + mlp + w;
const patchInputs = 3 * 14 * 14;
const z = dino.w + siglip.w;
const exchangeMatrices = 3 * (2 * z * z + z * dino.w + z * siglip.w);
const visionFull =
  vitFull(dino) +
  vitFull(siglip) +
  times(images * patches, exchangeMatrices) +
  times(images * patches, patchInputs * z);
const visionWeights =
  // LayerScale twice
  dino.layers * (vitMatrices(dino) + vitVectors(dino) + 2 * dino.w) +
  siglip.layers * (vitMatrices(siglip) + vitVectors(siglip)) +
  (exchangeMatrices + 3 * (2 * z + dino.w + siglip.w)) +
  (patchInputs * z + z) +
  // positions of both, cls and registers, queries
  (patches * z + 5 * dino.w + 32 * dino.w);

const mlp2 = (from: number, hidden: number, to: number): number => from * hidden + hidden * to;
const projector = z * 4 * z + 4 * z * llama.d + llama.d * llama.d;
const pooledProjector = mlp2(siglip.w, llama.d, llama.d);
const proprioProjector = mlp2(8, llama.d, llama.d);
const fuserFull =
  times(images * 32, projector) + times(images * 5, pooledProjector) + times(1, proprioProjector);
const fuserVectors = 4 * z + 2 * llama.d + 2 * llama.d + 2 * llama.d;
const fuserWeights = projector + pooledProjector + proprioProjector + fuserVectors;

/** Three MLPResNets on [8, 3 * 4096]: norm, fc1, two blocks, norm, fc2 of 3, 3 and 1 outputs. */
const headInputs = 3 * llama.d;
const headMatrices = 3 * (headInputs * llama.d + 2 * llama.d ** 2) + llama.d * 7;
const headVectors = 3 * (2 * headInputs + llama.d + 2 * (3 * llama.d) + 2 * llama.d) + 7;
const headsFull = times(8, headMatrices);

/** Cosines of 256 patches and 64 text tokens; five pooled tokens over 256 patches. */
const prunerFull = images * (2 * patches * siglip.w * 64 + 2 * 5 * patches * siglip.w);

/** Rows that our graph leaves out, since nothing reads them: an exact saving. */
const llmSaved =
  times(sequence - 24, llamaMatrices.q + llamaMatrices.o + llamaMatrices.mlp) +
  attention(sequence - 24, sequence, llama.d);
const dinoSaved =
  images *
  (times(dino.rows - 32, 2 * dino.w ** 2 + 2 * dino.w * dino.mlp) +
    attention(dino.rows - 32, dino.rows, dino.w));

work('LIBERO, every row of every block: the hand count exactly', () => {
  const all = found('libero', prompt, true);
  assert.is(all.sequence, 130);
  assert.is(all.sequence, sequence);
  assert.is(stageOf(all, 'llm').flops, llmFull);
  assert.is(stageOf(all, 'vision').flops, visionFull);
  assert.is(stageOf(all, 'fuser').flops, fuserFull);
  assert.is(stageOf(all, 'pruner').flops, prunerFull);
  assert.is(stageOf(all, 'heads').flops, headsFull);
});

work('LIBERO, as our graph computes it: the hand count less the rows that nothing reads', () => {
  const ours = found('libero', prompt);
  assert.is(stageOf(ours, 'llm').flops, llmFull - llmSaved);
  assert.is(stageOf(ours, 'vision').flops, visionFull - dinoSaved);
  assert.is(stageOf(ours, 'fuser').flops, fuserFull);
  assert.is(stageOf(ours, 'heads').flops, headsFull);
  assert.is((llmSaved / 1e9).toFixed(1), '36.0');
  assert.is((dinoSaved / 1e9).toFixed(1), '11.6');
});

work('weights are read once a chunk, whatever is left out', () => {
  for (const complete of [false, true]) {
    const policy = found('libero', prompt, complete);
    assert.is(stageOf(policy, 'llm').weightElements, llmWeights);
    assert.is(stageOf(policy, 'vision').weightElements, visionWeights);
    assert.is(stageOf(policy, 'fuser').weightElements, fuserWeights);
    assert.is(stageOf(policy, 'heads').weightElements, headMatrices + headVectors);
    assert.is(stageOf(policy, 'pruner').weightElements, 0);
  }
});

work("the design's figures, and where ours part from them", () => {
  const tera = (flops: number): string => (flops / 1e12).toFixed(2);
  const giga = (elements: number): string => ((2 * elements) / 1e9).toFixed(2);
  // the language model is the design's to the last digit it prints
  assert.is(tera(llmFull), '1.69');
  assert.is(giga(llmWeights), '12.95');
  // its 0.77 TFLOP of vision are what 512 patch rows through the towers and the exchange cost; 2.47 is the sum
  const patchRowsOnly = times(
    images * patches,
    dino.layers * vitMatrices(dino) + siglip.layers * vitMatrices(siglip) + exchangeMatrices,
  );
  assert.is(tera(patchRowsOnly), '0.77');
  assert.is(tera(llmFull + patchRowsOnly), '2.47');
  // beyond it: cls, registers and queries as rows, attention's products, patch embedding; then fuser and heads
  const prefixRows = images * dino.layers * times(dino.rows - patches, vitMatrices(dino));
  const scores =
    images *
    (dino.layers * attention(dino.rows, dino.rows, dino.w) +
      siglip.layers * attention(patches, patches, siglip.w));
  const embedding = times(images * patches, patchInputs * z);
  assert.is(patchRowsOnly + prefixRows + scores + embedding, visionFull);
  assert.equal(
    [prefixRows, scores, embedding, fuserFull, headsFull].map((flops) => (flops / 1e9).toFixed(1)),
    ['44.7', '33.2', '1.3', '9.6', '4.0'],
  );
  // its 1.63 GB fit one DINOv2 block less, no pooled tokens' and no proprio projector; its 14.6 have no heads either
  const matrices = 23 * vitMatrices(dino) + 27 * vitMatrices(siglip) + exchangeMatrices + projector;
  assert.is(giga(matrices), '1.63');
  assert.is(((2 * (llmWeights + matrices)) / 1e9).toFixed(1), '14.6');
  assert.is(giga(visionWeights + fuserWeights), '1.74');
  assert.is(giga(headMatrices + headVectors), '0.50');
});

work('a prompt token more is one row more of the language model and of nothing else', () => {
  const [short, long] = [found('libero', 30, true), found('libero', 31, true)];
  const perToken = llama.layers * (times(1, llamaLayer) + 4 * llama.d * (131 ** 2 - 130 ** 2));
  assert.is(stageOf(long, 'llm').flops - stageOf(short, 'llm').flops, perToken);
  for (const stage of ['vision', 'fuser', 'heads', 'pruner'] as const) {
    assert.equal(stageOf(long, stage), stageOf(short, stage));
  }
});

work('cameras: vision, pruner and vision tokens scale with them, weights do not', () => {
  const sizes = { ...presetSizes('libero'), promptTokens: prompt };
  const [one, three] = [1, 3].map((count) =>
    policyWork(presetArchitecture('libero'), { ...sizes, images: count }),
  ) as [PolicyWork, PolicyWork];
  assert.is(stageOf(three, 'vision').flops, 3 * stageOf(one, 'vision').flops);
  assert.is(stageOf(three, 'pruner').flops, 3 * stageOf(one, 'pruner').flops);
  assert.is(three.sequence - one.sequence, 2 * 37);
  assert.is(stageOf(three, 'vision').weightElements, stageOf(one, 'vision').weightElements);
});

work('every variant has a count, and OpenVLA-OFT pays for its 512 vision tokens', () => {
  const presets: readonly SynthPreset[] = [
    'tiny',
    'lite',
    'aloha',
    'bridge',
    'moe',
    'oft',
    'oft-plus',
    'openvla',
  ];
  for (const preset of presets) {
    for (const { stage, flops } of found(preset, prompt).stages) {
      const none = stage === 'pruner' || stage === 'instruction';
      assert.ok(none ? flops >= 0 : flops > 0, `${preset} ${stage}`);
    }
  }
  const oft = found('oft', prompt);
  // BOS, 2 x 256 vision tokens, proprio, prompt, 7 x 8 action tokens, stop
  const rows = 1 + 512 + 1 + (prompt - 1) + 56 + 1;
  assert.is(oft.sequence, rows);
  const full = llama.layers * (times(rows, llamaLayer) + attention(rows, rows, llama.d));
  const saved =
    times(rows - 56, llamaMatrices.q + llamaMatrices.o + llamaMatrices.mlp) +
    attention(rows - 56, rows, llama.d);
  assert.is(stageOf(oft, 'llm').flops, full - saved);
  // blocks up to the second to last: the last is in the checkpoint and computed by nobody
  const vision =
    times(images * 261, 23 * vitMatrices(dino)) +
    images * 23 * attention(261, 261, dino.w) +
    times(images * 256, 26 * vitMatrices(siglip)) +
    images * 26 * attention(256, 256, siglip.w) +
    times(images * patches, patchInputs * z);
  assert.is(stageOf(oft, 'vision').flops, vision);
});

work('a head that runs the language model more than once reads its weights as often', () => {
  const once = stageOf(found('oft-discrete', prompt), 'llm').weightElements;
  // and the embeddings of six tokens
  assert.is(stageOf(found('openvla', prompt), 'llm').weightElements, 7 * once + 6 * llama.d);
  const [chain, plain] = (['oft-diffusion', 'oft'] as const).map((name) => found(name, prompt));
  assert.is(stageOf(chain!, 'llm').weightElements, 50 * stageOf(plain!, 'llm').weightElements);
  // its token of time
  assert.is(chain!.sequence, plain!.sequence + 1);
  assert.is(stageOf(chain!, 'vision').flops, stageOf(plain!, 'vision').flops);
});

work('an instruction reads the rows of the table that it names, not the table', () => {
  const { stages, residentElements } = found('libero', prompt);
  const read = stages.reduce((sum, { weightElements }) => sum + weightElements, 0);
  // all that is resident and not read are the other rows of the two tables
  const tables = (32064 - (prompt + 1)) * llama.d + (32000 - 64) * 1152;
  assert.is(residentElements - read, tables);
});

work.run();
