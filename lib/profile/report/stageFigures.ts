/** Where the time of a chunk goes: the stages end to end, the model's blocks. */

import { type Figure, figure, percent } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import { policyStages, stageOfBlock, wholeBlock } from '../layers/blocks.ts';
import { stageNames } from '../stages.ts';
import type { LayerTime, StageName, SubjectResult } from '../types.ts';
import { colorOf, plotWidth, quantity, stacked, titleLines } from './plotStyle.ts';
import { waterfall } from './seriesData.ts';

const meaning: Readonly<Record<StageName, string>> = {
  total: 'frames in host memory to actions in host memory',
  preprocess: 'decode, resize and crop together',
  preprocessOnDevice: 'frames handed over; what is done to them is part of compute',
  decode: 'encoded camera images to pixels',
  resize: 'to the size of the vision towers',
  crop: 'center crop',
  tokenize: 'the sentence to ids; new sentences only',
  normalize: 'joint state to [-1, 1]',
  instruction: 'the instruction graph; new sentences only',
  policy: "the policy graph, host's view",
  enqueue: 'host time to hand the work to the device',
  h2d: 'host to device copies',
  compute: 'on the device',
  d2h: 'device to host copies',
  unnormalize: "to the robot's units",
};

export function waterfallFigure(subjects: readonly SubjectResult[]): Figure {
  // one scale for all, so that bars of two subjects can be compared by eye
  const end = Math.max(...subjects.flatMap((result) => waterfall(result).map(({ to }) => to)));
  // room for the label of the bar that ends last
  const scale = { domain: [0, 1.16 * end], nice: false };
  const rows = subjects.map((result, i) => {
    // the stroke shows a stage that is too short for a bar
    const bar = {
      type: 'bar',
      color: colorOf(i),
      stroke: colorOf(i),
      strokeWidth: 1,
      height: { band: 0.72 },
    };
    return {
      title: titleLines(result.subject.name),
      width: plotWidth - 60,
      height: { step: 22 },
      data: {
        values: waterfall(result).map((step) => ({ ...step, label: `${figure(step.to - step.from)} ms` })),
      },
      encoding: { y: { field: 'stage', type: 'ordinal', sort: null, title: null } },
      layer: [
        {
          mark: bar,
          encoding: {
            x: quantity('from', 'ms since the frames arrived (medians)', { scale }),
            x2: { field: 'to' },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 5, baseline: 'middle', color: color.ink },
          encoding: { x: quantity('to'), text: { field: 'label' } },
        },
      ],
    };
  });
  return {
    id: 'waterfall',
    title: 'Stage waterfall',
    description: `Median time of each stage of a chunk, laid end to end in the order in which they run, for ${subjects.map(({ subject }) => subject.name).join(', ')}.`,
    spec: stacked(rows, 16),
    caption:
      'Medians of the stages end to end, in the order in which they run. Some overlap in truth (tokenizing runs while images are resized), so the end need not be the median of the whole; rest is what no stage accounts for: waiting, copying, events.',
    isTableOpen: true,
    table: {
      caption: 'stages, ms',
      head: ['stage', 'what', 'min', 'median', 'p90', 'p99', 'max', 'of the total'],
      rows: subjects.flatMap(({ subject, summary }) =>
        stageNames.flatMap((stage) => {
          const found = summary[stage];
          if (found === undefined) return [];
          const { min, median, p90, p99, max } = found;
          const name = subjects.length === 1 ? stage : `${subject.name}: ${stage}`;
          const isOnce = summary.total === undefined || stage === 'tokenize' || stage === 'instruction';
          const part = isOnce ? 'once a sentence' : percent(median / summary.total!.median);
          return [[name, meaning[stage], min, median, p90, p99, max, part]];
        }),
      ),
    },
  };
}

/** The colour of each stage. */
const colorBy = {
  ...{ field: 'stage', type: 'nominal', title: null, legend: null },
  scale: { domain: [...policyStages], range: [5, 0, 3, 4, 1, 2, 6].map((i) => series[i]!) },
};

/** `llama layer 3` -> llama and 3. */
const numbered = /^(.*?) (?:block|layer) (\d+)$/;

/** Time of each block, in the order in which they first run. */
function blockTimes(layers: readonly LayerTime[]) {
  const times = new Map<string, number>();
  for (const { graph, block, medianMs } of layers) {
    const name = wholeBlock(block);
    if (graph === 'policy') times.set(name, (times.get(name) ?? 0) + medianMs);
  }
  return [...times].map(([block, ms]) => {
    const [, tower, number] = numbered.exec(block) ?? [];
    return { block, ms, stage: stageOfBlock(block), tower, number: Number(number), label: figure(ms) };
  });
}

/** One figure a subject, their panels of blocks on one scale. */
export function blocksFigures(
  layers: readonly (readonly [subject: string, readonly LayerTime[]])[],
): Figure[] {
  const all = layers.map(([subject, own]) => ({ subject, blocks: blockTimes(own) }));
  const most = Math.max(
    0,
    ...all.flatMap(({ blocks }) => blocks.flatMap(({ tower, ms }) => (tower === undefined ? [] : [ms]))),
  );
  return all.map(({ subject, blocks }, index) => blocksFigure(subject, index, blocks, most));
}

function blocksFigure(
  subject: string,
  index: number,
  blocks: ReturnType<typeof blockTimes>,
  most: number,
): Figure {
  const inTowers = blocks.filter(({ tower }) => tower !== undefined);
  const others = blocks.filter(({ tower }) => tower === undefined).sort((a, b) => b.ms - a.ms);
  const axis = { labelAngle: 0, labelOverlap: 'greedy', ticks: false };
  const panels = [...new Set(inTowers.map(({ tower }) => tower!))].map((tower) => ({
    title: tower === 'llama' ? 'llama, by layer' : `${tower}, by block`,
    width: plotWidth,
    height: 70,
    data: { values: inTowers.filter((block) => block.tower === tower) },
    mark: { type: 'bar', width: { band: 0.8 } },
    encoding: {
      x: { field: 'number', type: 'ordinal', title: null, axis },
      y: quantity('ms', 'ms', { scale: { domain: [0, most] }, axis: { tickCount: 3 } }),
      color: colorBy,
    },
  }));
  const rest = {
    title: 'everything else',
    width: plotWidth - 140,
    height: { step: 18 },
    data: { values: others.slice(0, 12) },
    encoding: { y: { field: 'block', type: 'ordinal', sort: null, title: null } },
    layer: [
      { mark: { type: 'bar' }, encoding: { x: quantity('ms', 'median ms a chunk'), color: colorBy } },
      {
        mark: { type: 'text', align: 'left', dx: 4, color: color.ink },
        encoding: { x: quantity('ms'), text: { field: 'label' } },
      },
    ],
  };
  return {
    id: `blocks-${index}`,
    title: `Blocks of ${subject}`,
    description:
      "Time of each block of the vision towers and each layer of the language model, and of everything else, in the policy's own words.",
    spec: stacked([...panels, ...(others.length > 0 ? [rest] : [])], 12),
    caption:
      "The same layers gathered into the policy's own blocks, all panels of blocks on one scale. Blocks of a tower do equal work, so one that stands out is worth a look.",
    table: {
      caption: `blocks of ${subject}, ms a chunk`,
      head: ['block', 'ms', 'stage'],
      rows: blocks.map(({ block, ms, stage }) => [block, ms, stage]),
    },
  };
}
