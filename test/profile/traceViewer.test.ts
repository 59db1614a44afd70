/**
 * Every kind of trace that the project writes, in the Perfetto viewer itself: what its trace processor read is what was
 * written, slice by slice, and it stands on the screen without a click. Damaged traces show that the look would notice.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildTimeline } from '../../lib/profile/layers/buildTimeline.ts';
import type { ChunkTimes, ChunkTrack } from '../../lib/profile/layers/chunkRun.ts';
import type { GraphRun } from '../../lib/profile/layers/layerRuns.ts';
import { parseOrtTrace } from '../../lib/profile/layers/layerRuns.ts';
import { profilePolicy } from '../../lib/profile/layers/profilePolicy.ts';
import { flightTimeline } from '../../lib/profile/recorder/flightTimeline.ts';
import { Recorder } from '../../lib/profile/recorder/recorder.ts';
import { traceProto } from '../../lib/profile/trace/perfettoSchema.ts';
import { encodeTrace } from '../../lib/profile/trace/perfettoTrace.ts';
import { type SliceTrack, type Timeline, trackLabel } from '../../lib/profile/trace/timeline.ts';
import { findBrowser } from '../helpers/browser.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { findPerfettoUi, PerfettoUi } from '../helpers/perfettoUi.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('traces in the Perfetto viewer');

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const browser = findBrowser();
const found = !isLong
  ? { missing: 'it starts a browser with the Perfetto viewer; SEMANTICVLA_LONG_TESTS=1 runs it' }
  : browser === null
    ? { missing: 'no chromium or google-chrome on PATH (apt-get install chromium)' }
    : findPerfettoUi();

let started: Promise<PerfettoUi> | null = null;
const viewer = (): Promise<PerfettoUi> => {
  started ??= PerfettoUi.start((found as { folder: string }).folder, browser!);
  return started;
};

const nanoseconds = (ms: number): number => Math.round(ms * 1e6);
const slicesOf = (timeline: Timeline): SliceTrack[] =>
  timeline.tracks.filter((track) => track.kind === 'slices');

/** One line a slice: track, name, begin and duration in ns, how deep, arguments. */
function written(timeline: Timeline): string[] {
  return slicesOf(timeline).flatMap((track) => {
    const open: number[] = [];
    return track.slices.map(({ name, startMs, ms, args }) => {
      const ns = nanoseconds(startMs);
      while (open.length > 0 && open.at(-1)! <= ns) open.pop();
      const end = Math.max(ns, nanoseconds(startMs + ms));
      open.push(Math.min(end, open.at(-1) ?? end));
      const duration = open.at(-1)! - ns;
      const said = Object.entries(args ?? {}).map(([key, value]) => `${key}=${value}`);
      return [trackLabel(track), name, ns, duration, open.length - 1, ...said.sort()].join(' | ');
    });
  });
}

const readSlices = `
  with said as (
    select arg_set_id, group_concat(text, ' | ') as text from (
      select arg_set_id, replace(replace(key, 'debug.', ''), 'args.', '') || '=' || display_value as text
      from args where key glob 'debug.*' or key glob 'args.*' order by arg_set_id, text
    ) group by arg_set_id
  )
  select thread.name || ' | ' || ifnull(slice.name, 'no name') || ' | ' || ts || ' | ' || dur || ' | ' || depth ||
    ifnull(' | ' || said.text, '') as line
  from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
  left join said on slice.arg_set_id = said.arg_set_id`;

const readCounters = `
  select t.name, t.unit, count() as samples, sum(value) as sum
  from counter join counter_track t on counter.track_id = t.id group by t.id`;

/** What is wrong with what the viewer made of the trace, as sentences. */
async function faults(ui: PerfettoUi, timeline: Timeline): Promise<string[]> {
  const bad: string[] = [];
  const stats = `select name, value from stats where severity in ('error', 'data_loss') and value > 0`;
  for (const { name, value } of await ui.query(stats)) bad.push(`import: ${name} ${value}`);
  const lines = written(timeline);
  const rows = await ui.query(readSlices);
  const all = await ui.query('select count() as n from slice');
  if (all[0]!.n !== lines.length) bad.push(`${all[0]!.n} slices, ${lines.length} were written`);
  const left = new Map<string, number>();
  for (const line of lines) left.set(line, (left.get(line) ?? 0) + 1);
  for (const { line } of rows) left.set(line as string, (left.get(line as string) ?? 0) - 1);
  const differ = new Map<string, string>();
  for (const [line, count] of left) {
    if (count === 0) continue;
    // one of a track says enough
    differ.set(`${count > 0 ? 'not read' : 'not written'} of ${line.split(' | ')[0]}`, line);
  }
  for (const [what, line] of differ) bad.push(`${what}: ${line}`);

  const tracks = await ui.query('select thread.name from thread join thread_track using (utid) order by tid');
  const labels = slicesOf(timeline).map(trackLabel);
  if (tracks.map(({ name }) => name).join() !== labels.join()) bad.push(`tracks ${JSON.stringify(tracks)}`);
  const counters = timeline.tracks.filter((track) => track.kind === 'counter');
  const counted = new Map((await ui.query(readCounters)).map((row) => [row.name, row]));
  for (const { name, unit, samples } of counters) {
    const row = counted.get(name);
    const sum = samples.reduce((total, { value }) => total + value, 0);
    // sums of doubles in another order
    const isSame =
      row?.samples === samples.length && Math.abs((row.sum as number) - sum) <= 1e-9 * Math.abs(sum);
    if (!isSame || row.unit !== unit) bad.push(`counter ${name} (${unit}): ${JSON.stringify(row)}`);
  }
  if (counted.size !== counters.length) bad.push(`${counted.size} counters of ${counters.length}`);

  const ends = new Map<number, number>();
  for (const { flow } of slicesOf(timeline).flatMap(({ slices }) => slices)) {
    if (flow !== undefined) ends.set(flow, (ends.get(flow) ?? 0) + 1);
  }
  const arrows = [...ends.values()].reduce((total, count) => total + count - 1, 0);
  const flows = await ui.query('select count() as n from flow');
  if (flows[0]!.n !== arrows) bad.push(`${flows[0]!.n} arrows of ${arrows}`);

  // in this order, and none of it in a group that is closed
  const seen = await ui.visibleTracks();
  const wanted = [
    `${timeline.title} ${timeline.pid}`,
    ...labels.map((label, i) => `${label} ${i + 1}`),
    ...counters.map(({ name }) => name).sort(),
  ];
  if (seen.join() !== wanted.join()) bad.push(`on the screen: ${seen.join(', ')}`);
  return bad;
}

let profiled: Promise<Timeline> | null = null;
const ofProfile = (): Promise<Timeline> => {
  profiled ??= profilePolicy(goldenCheckpoint('libero-tiny'), {
    policy: { platform: 'libero', unnormKey: 'libero_spatial_no_noops', threads: 1 },
    iterations: 2,
    warmUp: 0,
  }).then(({ timeline }) => timeline);
  return profiled;
};

/** What a chunk on a device tells: the host's stages, and the parts of the call on the stream. */
function deviceChunk(chunk: number, atMs: number): ChunkTimes {
  const slice = (track: ChunkTrack, name: string, after: number, ms: number) => ({
    track,
    name,
    category: name.startsWith('chunk') ? 'chunk' : 'stage',
    startMs: atMs + after,
    ms,
    flow: chunk,
  });
  return {
    promptTokens: 30,
    stages: { total: 60, h2d: 0.4, compute: 51, d2h: 0.05 },
    slices: [
      slice('chunks', `chunk ${chunk}`, 0, 60),
      slice('JavaScript thread', 'preprocessOnDevice', 0.1, 0.9),
      slice('inference thread', 'policy', 2, 55),
      slice('inference thread', 'enqueue', 2, 1.5),
      slice('stream', 'h2d', 2, 0.4),
      slice('stream', 'compute', 2.4, 51),
      slice('stream', 'd2h', 53.4, 0.05),
    ],
  };
}

/** Plans of a real policy by TensorRT-RTX, with times that are made up: names of layers, no moments. */
function ofDevice(): Timeline {
  const recorded = readFileSync(join(import.meta.dirname, 'recorded/tensorRtRtx.layers'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { graph: string; Name: string; LayerType: string; Metadata: string });
  const run = (graph: string, at: number): GraphRun => {
    const layers = recorded
      .filter((layer) => layer.graph === graph)
      .map(({ Name, LayerType, Metadata }, i) => ({
        name: Name,
        kind: LayerType,
        metadata: Metadata,
        startMs: null,
        ms: 0.1 + (i % 7) / 50,
        inputs: [],
        outputs: [],
      }));
    const sum = layers.reduce((total, { ms }) => total + ms, 0);
    return { at, ms: sum + 0.5, layers };
  };
  const starts = [5000, 5070, 5140];
  return buildTimeline(
    'SemanticVLA, TensorRT',
    starts.map((at, chunk) => deviceChunk(chunk, at)),
    { instruction: [], policy: starts.map((at) => run('policy', at + 2)) },
    { samples: starts.map((at) => ({ atMs: at, value: 0.25 })) },
  );
}

/** Twenty chunks, as `profile` takes them, of the golden policy's recorded run, three times as long. */
function ofRealisticSize(): Timeline {
  const [one] = parseOrtTrace(
    readFileSync(join(import.meta.dirname, 'recorded/onnxRuntimePolicy.trace'), 'utf8'),
    'recorded',
  );
  const { layers, ms } = one!;
  const long = Array.from({ length: 3 }, (_, part) =>
    layers.map((layer) => ({ ...layer, startMs: layer.startMs! + part * ms })),
  ).flat();
  const length = 3 * ms;
  const at = (chunk: number): number => 86_400_000 + chunk * (length + 20);
  const chunks = Array.from({ length: 20 }, (_, chunk) => deviceChunk(chunk, at(chunk)));
  return buildTimeline(
    'SemanticVLA, ONNX Runtime',
    chunks.map((chunk) => ({ ...chunk, stages: {} })),
    { instruction: [], policy: chunks.map((_, chunk) => ({ at: at(chunk) + 2, ms: length, layers: long })) },
    { samples: chunks.map((_, chunk) => ({ atMs: at(chunk), value: chunk / 8 })) },
  );
}

/** Of every kind of event that a recorder keeps. */
function ofFlight(): Timeline {
  const recorder = new Recorder();
  for (let i = 0; i < 12; i++) {
    const at = 100 + 90 * i;
    const stages = { preprocess: 10, decode: 4, resize: 5, tokenize: 1, instruction: 8, unnormalize: 1 };
    const onDevice = { policy: 60, enqueue: 3, h2d: 0.5, compute: 57, d2h: 0.2 };
    recorder.end(recorder.begin(at), at, at + 80, 'done', { ...stages, ...onDevice });
    for (let tick = 0; tick < 4; tick++) recorder.event('executed', at + 20 * tick, 30 + tick);
  }
  recorder.begin(1190);
  recorder.event('deadline missed', 1195, 130);
  recorder.event('hold', 1200, Number.NaN, 'idle');
  recorder.event('missed', 1240, 2);
  return flightTimeline(recorder.copy(), {
    title: 'semanticvla serve',
    pid: 4321,
    why: 'deadline',
    nowMs: 1250,
    toMonotonicMs: 7e6,
    realtimeMs: 1.7e12,
  });
}

const kinds: readonly (readonly [string, () => Timeline | Promise<Timeline>, string])[] = [
  ['profile on the CPU', ofProfile, 'profile.perfetto-trace'],
  ['profile on a device', ofDevice, 'device.perfetto-trace'],
  ['flight recorder', ofFlight, 'flight.perfetto-trace'],
  ['profile of a realistic size', ofRealisticSize, 'large.perfetto-trace'],
];

function define(): void {
  for (const [name, make, file] of kinds) {
    test(`${name}: read as it was written, and on the screen`, async () => {
      const [ui, timeline] = await Promise.all([viewer(), make()]);
      await ui.open(encodeTrace(timeline), file);
      assert.equal(await faults(ui, timeline), []);
    });
  }

  test('damage is noticed: each kind on a track of its own', async () => {
    const timeline = ofDevice();
    const ui = await viewer();
    const { packet } = traceProto.toObject(traceProto.decode(encodeTrace(timeline)), {
      longs: Number,
    }) as { packet: { trackEvent?: { type: number; trackUuid: number; nameIid?: number } }[] };
    const uuidOf = (name: string): number => 10 + timeline.tracks.findIndex((track) => track.name === name);
    const find = (name: string, type: number): number =>
      packet.findIndex(
        ({ trackEvent }) => trackEvent?.type === type && trackEvent.trackUuid === uuidOf(name),
      );
    // a name that was never given
    packet[find('chunks', 1)]!.trackEvent!.nameIid = 99_999;
    // a track that nothing describes
    for (const { trackEvent } of packet) {
      if (trackEvent?.trackUuid === uuidOf('JavaScript thread')) trackEvent.trackUuid = 999;
    }
    // a slice that nothing ends
    packet.splice(find('inference thread', 2), 1);
    // an end that no slice began ends the one around it
    const end = find('layers', 2);
    packet.splice(end, 0, packet[end]!);
    // a packet of a clock (field 58: 3) that nothing ties to the others
    const adrift = [0x40, 1, 0xd0, 3, 3, 0x50, 1, 0x68, 2, 0x5a, 4, 0x48, 1, 0x58, 10];
    const file = traceProto.encode(traceProto.fromObject({ packet })).finish();
    await ui.open(Buffer.concat([file, Buffer.from([0x0a, adrift.length, ...adrift])]), 'damaged');
    const seen = (await faults(ui, timeline)).join('\n');
    const wanted = [
      /^import: /m,
      /^not read of host: chunks: .*chunk 0/m,
      /^not read of host: JavaScript thread/m,
      /^not read of host: inference thread/m,
      /^not read of device: layers/m,
      /^tracks (?!.*JavaScript)/m,
      /^on the screen: Global Track Events/m,
    ];
    for (const sentence of wanted) assert.match(seen, sentence);
    assert.not.match(seen, /device: stream:/, 'what is not damaged is read');
  });

  test('the viewer ends', async () => {
    await (await started)?.close();
  });
}

if ('folder' in found) define();
else testWhen(false, found.missing, test, 'every kind of trace in the viewer', () => {});

test.run();
