import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type SynthPreset, synthPresets } from '../../lib/synth/presets.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';

const test = suite('synth and openCheckpoint');

const vision = {
  dinov2Width: 12,
  dinov2Heads: 2,
  dinov2Depth: 3,
  siglipWidth: 20,
  siglipHeads: 2,
  siglipDepth: 4,
};
const small = {
  ...vision,
  llamaWidth: 16,
  llamaHeads: 2,
  llamaKvHeads: 1,
  llamaLayers: 2,
  llamaMlp: 24,
  loraRank: 2,
};
const text = { textWidth: 24, textHeads: 2, textLayers: 1, textMlp: 40, textVocab: 512 };

const variants: Readonly<Record<SynthPreset, string>> = {
  tiny: 'SemanticVLA',
  libero: 'SemanticVLA',
  lite: 'SemanticVLA-Lite',
  aloha: 'SemanticVLA',
  bridge: 'SemanticVLA',
  oft: 'OpenVLA-OFT',
  'oft-plus': 'OpenVLA-OFT+',
  moe: 'SemanticVLA',
  diffusion: 'SemanticVLA',
  'oft-diffusion': 'OpenVLA-OFT',
  'oft-discrete': 'OpenVLA-OFT',
  openvla: 'OpenVLA',
};

for (const preset of Object.keys(variants) as SynthPreset[])
  test(`${preset} opens as what it was made as`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'synth-open-'));
    try {
      const isOft = synthPresets[preset].pruning === null;
      const overrides = preset === 'tiny' ? {} : isOft ? small : { ...small, ...text };
      const isToken = ['discrete', 'autoregressive'].includes(synthPresets[preset].head);
      const { spec } = await synthesizeCheckpoint(preset, join(dir, 'policy'), { overrides });
      const { config, sources, statistics } = await openCheckpoint(join(dir, 'policy'), {
        cacheDir: join(dir, 'cache'),
        // no file says it
        ...(isToken ? { head: spec.head } : {}),
      });
      assert.is(
        config.head.kind === 'single' || config.head.kind === 'split' ? 'l1' : config.head.kind,
        spec.head,
      );
      assert.is(config.family, spec.family);
      assert.is(config.variant, variants[preset]);
      for (const tower of ['dinov2', 'siglip'] as const) {
        const { timmName, width, depth, heads, mlpWidth, film, registerTokens } = config[tower];
        const made = spec[tower];
        assert.equal(
          { timmName, width, depth, heads, mlpWidth, film, registerTokens },
          {
            timmName: made.timmName,
            width: made.width,
            depth: made.depth,
            heads: made.heads,
            mlpWidth: Math.trunc(made.width * made.mlpRatio),
            film: isOft ? preset === 'oft-plus' : made.film,
            registerTokens: made.registerTokens,
          },
        );
      }
      const { width, layers, heads, kvHeads, mlpWidth, vocabSize } = config.llama;
      const { maxPositions: _, ...llama } = spec.llama;
      assert.equal({ width, layers, heads, kvHeads, mlpWidth, vocabSize }, { ...llama });
      assert.equal(config.exchangePairs, spec.pruning?.exchangePairs ?? []);
      assert.is(config.dinov2.queries, spec.pruning?.queries ?? 0);
      assert.is(config.siglip.sampler?.visionTopk ?? null, spec.pruning?.visionTopk ?? null);
      assert.is(config.siglip.sampler?.textEncoder.width ?? null, spec.pruning?.text.width ?? null);
      assert.is(config.siglip.sampler?.textEncoder.layers ?? null, spec.pruning?.text.layers ?? null);
      assert.is(config.aggregation, spec.pruning?.aggregation ?? 'concat');
      assert.is(config.actionTokensPerStep, isToken ? null : spec.actionTokens);
      assert.is(config.actionDim, isToken ? null : spec.actionDim);
      assert.is(config.proprioDim, spec.proprioDim === 0 ? null : spec.proprioDim);
      assert.is(config.imageSize, spec.imageSize);
      // float32 heads are rounded in every preset; only SemanticVLA's own have LoRA to merge
      assert.is((sources.madeWeights?.merged ?? 0) > 0, synthPresets[preset].dinov2.film);
      assert.equal([...statistics.keys()], [spec.datasetKey]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

test.run();
