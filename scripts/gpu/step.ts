/**
 * One stage of `npm run gpu` in a process of its own. Arguments: the stage's name and the context as JSON. What it finds is written
 * at once to NAME.json in the folder of figures. Exit codes: 0 passed, 1 not, and the last line says why.
 */

import { join } from 'node:path';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import { machineProbe } from '../../lib/support/machineProbe.ts';
import { presetFolder } from '../../lib/synth/presetFolder.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { boardProbe, checkBoard } from './board.ts';
import type { Context, StageName } from './context.ts';
import { type GoldenRow, type StageResult, writeJson } from './figures.ts';
import { machineFacts } from './machineFacts.ts';
import { measureGoldens, measureLatency, measureLayers } from './measure.ts';
import { resultFile } from './runStages.ts';
import { findOrFetchTensorRt } from './tensorRtFor.ts';

type Step = (context: Context, write: (result: StageResult) => void) => Promise<void>;

const steps: Partial<Record<StageName, Step>> = {
  async board(context, write) {
    const { facts, refusal, tooSmall, advice } = checkBoard(boardProbe(context.work));
    write({ facts: { ...facts, ...(tooSmall === null ? {} : { 'full size': tooSmall }) }, warnings: advice });
    if (refusal !== null) throw new Error(refusal);
  },
  async machine(_context, write) {
    write({ facts: machineFacts(machineProbe) });
  },
  async tensorrt(context, write) {
    write({
      facts:
        context.backend === 'cpu' ? { TensorRT: 'none: on the CPU' } : await findOrFetchTensorRt(context),
    });
  },
  async checkpoint(context, write) {
    const start = performance.now();
    const folder = await presetFolder(preset(context), { cacheDir: context.work });
    // merges what training left unmerged, once, into the cache
    await openCheckpoint(folder);
    write({ facts: { folder, seconds: ((performance.now() - start) / 1000).toFixed(1) } });
  },
  async goldens(context, write) {
    const goldens: GoldenRow[] = [];
    await measureGoldens(context, (row) => {
      goldens.push(row);
      write({ goldens });
    });
    const failed = goldens.filter(({ passed }) => !passed);
    if (failed.length > 0)
      throw new Error(`${failed.length} of ${goldens.length} samples differ by more than allowed`);
  },
  async first(context, write) {
    const checkpoint = await twin(context);
    write(
      await measureLatency(context, { checkpoint, what: 'few layers', weights: [weightsOf(context)[0]] }),
    );
  },
  async latency(context, write) {
    const checkpoint = await presetFolder(preset(context), { cacheDir: context.work });
    write(
      await measureLatency(context, { checkpoint, what: preset(context), weights: [weightsOf(context)[0]] }),
    );
  },
  async baked(context, write) {
    const checkpoint = await twin(context);
    write(await measureLatency(context, { checkpoint, what: 'few layers', weights: weightsOf(context) }));
  },
  async layers(context, write) {
    write(await measureLayers(context, await presetFolder(preset(context), { cacheDir: context.work })));
  },
};

const preset = ({ rehearsal }: Context) => (rehearsal ? 'tiny' : 'libero');
const weightsOf = ({ backend }: Context) =>
  backend === 'cpu' ? (['folded', 'mapped'] as const) : (['bound', 'baked'] as const);

/** All widths of the full size and few layers, made once. */
async function twin(context: Context): Promise<string> {
  if (context.rehearsal) return presetFolder('tiny', { cacheDir: context.work });
  const dir = join(context.work, 'twin');
  try {
    await openCheckpoint(dir);
  } catch {
    await synthesizeCheckpoint(twinSpec(presetArchitecture('libero').config), dir);
  }
  return dir;
}

const [name, json] = process.argv.slice(2) as [StageName, string];
const context = JSON.parse(json) as Context;
try {
  await steps[name]!(context, (result) => writeJson(resultFile(context, name), result));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
