/** Where the time of a chunk goes: the stages end to end, the model's blocks. */

import type { PlotSpec } from '../../plots/drawPlot.ts';
import { type Figure, figure, percent } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import { policyStages, stageOfBlock, wholeBlock } from '../layers/blocks.ts';
import { stageNames } from '../stages.ts';
import type { LayerTime, SubjectResult } from '../types.ts';
import { colorOf, plotWidth, titleLines } from './plotStyle.ts';
import { waterfall } from './seriesData.ts';

const meaning: Readonly<Record<string, string>> = {
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
  rest: 'what no stage accounts for: waiting, copying, events',
};

export function waterfallFigure(subjects: readonly SubjectResult[]): Figure {
  // one scale for all, so that bars of two subjects can be compared by eye
  const end = Math.max(...subjects.flatMap((result) => waterfall(result).map(({ to }) => to)));
  const rows = subjects.map((result, i) => {
    const steps = waterfall(result).map((step) => ({ ...step, label: `${figure(step.to - step.from)} ms` }));
    const y = { field: 'stage', type: 'ordinal', sort: null, title: null };
    return {
      title: titleLines(result.subject.name),
      width: plotWidth - 60,
      height: { step: 22 },
      data: { values: steps },
      encoding: { y },
      layer: [
        {
          // the stroke shows a stage that is too short for a bar
          mark: {
            type: 'bar',
            color: colorOf(i),
            stroke: colorOf(i),
            strokeWidth: 1,
            height: { band: 0.72 },
          },
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              title: 'ms since the frames arrived (medians)',
              // room for the label of the bar that ends last
              scale: { domain: [0, 1.16 * end], nice: false },
            },
            x2: { field: 'to' },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 5, baseline: 'middle', color: color.ink },
          encoding: { x: { field: 'to', type: 'quantitative' }, text: { field: 'label' } },
        },
      ],
    };
  });
  return {
    id: 'waterfall',
    title: 'Stage waterfall',
    description: `Median time of each stage of a chunk, laid end to end in the order in which they run, for ${subjects.map(({ subject }) => subject.name).join(', ')}.`,
    spec: { vconcat: rows, spacing: 16 } as unknown as PlotSpec,
    caption:
      'Medians of the stages end to end, in the order in which they run. Some overlap in truth (tokenizing runs while images are resized), so the end need not be the median of the whole; what is missing from it is the rest.',
    isTableOpen: true,
    table: {
      caption: 'stages, ms',
      head: ['stage', 'what', 'min', 'median', 'p90', 'p99', 'max', 'of the total'],
      rows: subjects.flatMap(({ subject, summary }) =>
        stageNames.flatMap((stage) => {
          const found = summary[stage];
          if (found === undefined) return [];
          const name = subjects.length === 1 ? stage : `${subject.name}: ${stage}`;
          const share = summary.total === undefined ? null : found.median / summary.total.median;
          const once = stage === 'tokenize' || stage === 'instruction';
          const { min, median, p90, p99, max } = found;
          const part = share === null || once ? 'once a sentence' : percent(share);
          return [[name, meaning[stage]!, min, median, p90, p99, max, part]];
        }),
      ),
    },
  };
}

/** The colour of each stage. */
const stageColor = {
  title: null,
  scale: { domain: [...policyStages], range: [5, 0, 3, 4, 1, 2, 6].map((i) => series[i]!) },
};

interface BlockTime {
  readonly block: string;
  readonly ms: number;
}

/** Milliseconds by whole block, in the order in which the blocks first run. */
function blockTimes(layers: readonly LayerTime[]): BlockTime[] {
  const times = new Map<string, number>();
  for (const { block, medianMs } of layers) {
    const name = wholeBlock(block);
    times.set(name, (times.get(name) ?? 0) + medianMs);
  }
  return [...times].map(([block, ms]) => ({ block, ms }));
}

/** `llama layer 3` -> llama and 3. */
const numbered = /^(.*?) (?:block|layer) (\d+)$/;

export function blocksFigure(subject: string, index: number, layers: readonly LayerTime[]): Figure {
  const blocks = blockTimes(layers.filter(({ graph }) => graph === 'policy'));
  const rows = blocks.flatMap(({ block, ms }) => {
    const match = numbered.exec(block);
    return match === null
      ? []
      : [{ tower: match[1]!, number: Number(match[2]), ms, stage: stageOfBlock(block) }];
  });
  const towers = [...new Set(rows.map(({ tower }) => tower))];
  const others = blocks
    .filter(({ block }) => !numbered.test(block))
    .sort((a, b) => b.ms - a.ms)
    .slice(0, 12)
    .map(({ block, ms }) => ({ block, ms, stage: stageOfBlock(block), label: figure(ms) }));
  const most = Math.max(...rows.map(({ ms }) => ms), 0);
  const colorBy = { field: 'stage', type: 'nominal', ...stageColor, legend: null };
  const panels = towers.map((tower) => ({
    title: tower === 'llama' ? 'llama, by layer' : `${tower}, by block`,
    width: plotWidth,
    height: 70,
    data: { values: rows.filter((row) => row.tower === tower) },
    mark: { type: 'bar', width: { band: 0.8 } },
    encoding: {
      x: {
        field: 'number',
        type: 'ordinal',
        title: null,
        axis: { labelAngle: 0, labelOverlap: 'greedy', ticks: false },
      },
      y: {
        field: 'ms',
        type: 'quantitative',
        title: 'ms',
        scale: { domain: [0, most] },
        axis: { tickCount: 3 },
      },
      color: colorBy,
    },
  }));
  const rest = {
    title: 'everything else',
    width: plotWidth - 140,
    height: { step: 18 },
    data: { values: others },
    encoding: { y: { field: 'block', type: 'ordinal', sort: null, title: null } },
    layer: [
      {
        mark: { type: 'bar' },
        encoding: { x: { field: 'ms', type: 'quantitative', title: 'median ms a chunk' }, color: colorBy },
      },
      {
        mark: { type: 'text', align: 'left', dx: 4, color: color.ink },
        encoding: { x: { field: 'ms', type: 'quantitative' }, text: { field: 'label' } },
      },
    ],
  };
  return {
    id: `blocks-${index}`,
    title: `Blocks of ${subject}`,
    description:
      "Time of each block of the vision towers and each layer of the language model, and of everything else, in the policy's own words.",
    spec: { vconcat: [...panels, ...(others.length > 0 ? [rest] : [])], spacing: 12 } as unknown as PlotSpec,
    caption:
      "The same layers gathered into the policy's own blocks, all panels of blocks on one scale. Blocks of a tower do equal work, so one that stands out is worth a look.",
    table: {
      caption: `blocks of ${subject}, ms a chunk`,
      head: ['block', 'ms', 'stage'],
      rows: blocks.map(({ block, ms }) => [block, ms, stageOfBlock(block)]),
    },
  };
}
