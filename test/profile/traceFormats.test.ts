/** Traces against what their viewer relies on: Perfetto's own published descriptors. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { profilePolicy } from '../../lib/profile/layers/profilePolicy.ts';
import { traceProto } from '../../lib/profile/trace/perfettoSchema.ts';
import { encodeTrace } from '../../lib/profile/trace/perfettoTrace.ts';
import { nested, type Slice, type SliceTrack, type Timeline } from '../../lib/profile/trace/timeline.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('trace formats');
const slice = (name: string, startMs: number, ms: number, more: Partial<Slice> = {}): Slice => ({
  name,
  startMs,
  ms,
  category: 'stage',
  ...more,
});

const timeline: Timeline = {
  title: 'SemanticVLA',
  pid: 42,
  clock: { monotonicMs: 1000, realtimeMs: 1.7e12 },
  tracks: [
    {
      kind: 'slices',
      side: 'host',
      name: 'chunks',
      slices: [slice('chunk 0', 1000, 10, { flow: 0, args: { tokens: 30, said: 'öffne "die" Tür' } })],
    },
    {
      kind: 'slices',
      side: 'device',
      name: 'layers',
      // nested, touching, empty, and overlapping by a rounded microsecond
      slices: nested([
        slice('graph', 1001, 8, { flow: 0 }),
        slice('a', 1001, 2),
        slice('b', 1002.999, 1),
        slice('empty', 1004, 0),
        slice('c', 1004, 5.001),
      ]),
    },
    {
      kind: 'counter',
      name: 'power',
      unit: 'W',
      samples: [
        { atMs: 1000, value: 12.5 },
        { atMs: 1005, value: 30 },
      ],
    },
  ],
};

test('slices that overlap by the rounding of a clock are put side by side, inner ones end with the outer', () => {
  const track = timeline.tracks[1]!;
  assert.is(track.kind, 'slices');
  const [graph, a, b, c, empty] = (track as SliceTrack).slices as Slice[];
  assert.is(graph!.ms, 8);
  assert.is(a!.startMs + a!.ms, 1003);
  assert.ok(b!.startMs >= 1003 && b!.startMs + b!.ms <= 1004);
  assert.ok(empty!.startMs >= 1004 && c!.startMs + c!.ms <= 1009);
});

/** Every begin has its end, by a decoder that knows only numbers. */
function balance(file: Uint8Array): Map<string, number> {
  const depth = new Map<string, number>();
  const { packet } = traceProto.toObject(traceProto.decode(file), { longs: String }) as {
    packet: { trackEvent?: { type: number; trackUuid: string } }[];
  };
  for (const { trackEvent } of packet) {
    if (trackEvent === undefined) continue;
    const step = trackEvent.type === 1 ? 1 : trackEvent.type === 2 ? -1 : 0;
    const now = (depth.get(trackEvent.trackUuid) ?? 0) + step;
    assert.ok(now >= 0, 'an end without its begin');
    depth.set(trackEvent.trackUuid, now);
  }
  return depth;
}

test('Perfetto: begins and ends balance on every track', () => {
  const depth = balance(encodeTrace(timeline));
  assert.is(depth.size, 3);
  assert.ok([...depth.values()].every((open) => open === 0));
});

const found = pythonVenv(
  'perfetto-venv',
  join(import.meta.dirname, 'requirements.txt'),
  'import perfetto.protos.perfetto.trace.perfetto_trace_pb2',
);
const missing = 'missing' in found ? found.missing : '';

interface Verdict {
  readonly problems: readonly string[];
  readonly tracks: readonly string[];
  readonly slices: Readonly<Record<string, number>>;
  readonly counters: Readonly<Record<string, number>>;
  readonly names: Readonly<Record<string, number>>;
  readonly flows: Readonly<Record<string, readonly string[]>>;
}

/** What Perfetto's own descriptors and the rules of checkTrace.py say. */
function verdict(file: Uint8Array): Verdict {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-trace-'));
  try {
    const path = join(folder, 'x.perfetto-trace');
    writeFileSync(path, file);
    const python = 'python' in found ? found.python : '';
    const { stdout, stderr } = spawnSync(python, [join(import.meta.dirname, 'checkTrace.py'), path], {
      encoding: 'utf8',
    });
    assert.ok(stdout.startsWith('{'), stderr);
    return JSON.parse(stdout) as Verdict;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

testWhen(
  missing === '',
  missing,
  test,
  "Perfetto's own descriptors decode a made-up trace and a real one",
  async () => {
    const { problems, tracks, slices, counters, names, flows } = verdict(encodeTrace(timeline));
    assert.equal(problems, []);
    assert.equal(tracks, ['', 'host: chunks', 'device: layers', 'power']);
    assert.equal(slices, { 'host: chunks': 1, 'device: layers': 5 });
    assert.equal(counters, { power: 2 });
    assert.equal(names, { 'chunk 0': 1, graph: 1, a: 1, b: 1, empty: 1, c: 1 });
    assert.equal(flows, { 1: ['device: layers', 'host: chunks'] });

    const { timeline: real } = await profilePolicy(goldenCheckpoint('libero-tiny'), {
      policy: { platform: 'libero', unnormKey: 'libero_spatial_no_noops', threads: 1 },
      iterations: 2,
      warmUp: 0,
    });
    const told = verdict(encodeTrace(real));
    assert.equal(told.problems, []);
    assert.is(told.names['chunk 0'], 1);
    assert.is(told.names['chunk without the profiler'], 2);
    assert.ok(told.slices['device: layers']! > 1000);
    assert.is(told.names['siglip block 0 attention'], 2);
    assert.is(told.names['siglip/block0/attn/qkv'], 2);
    for (const flow of ['1', '2']) {
      assert.equal(told.flows[flow], [
        'device: layers',
        'host: JavaScript thread',
        'host: chunks',
        'host: inference thread',
        'host: preprocessing threads',
      ]);
    }
  },
);

testWhen(missing === '', missing, test, 'the check itself notices what is wrong', () => {
  const good = traceProto.toObject(traceProto.decode(encodeTrace(timeline)), { longs: Number }) as {
    packet: Record<string, unknown>[];
  };
  const broken = (change: (packets: Record<string, unknown>[]) => Record<string, unknown>[]): string => {
    const file = traceProto
      .encode(traceProto.fromObject({ packet: change(structuredClone(good.packet)) }))
      .finish();
    return verdict(file).problems.join('\n');
  };
  assert.match(
    broken((packets) => packets.slice(0, -3)),
    /never ended/,
  );
  assert.match(
    broken((packets) => packets.filter(({ internedData }) => internedData === undefined)),
    /is not interned/,
  );
  assert.match(
    broken((packets) => packets.filter(({ trackDescriptor }) => trackDescriptor === undefined)),
    /is not defined/,
  );
  assert.match(
    broken(([head, ...rest]) => [head!, ...rest.reverse()]),
    /time goes back/,
  );
  assert.match(
    broken((packets) => {
      for (const { trackDescriptor } of packets as { trackDescriptor?: { thread?: { tid: number } } }[]) {
        if (trackDescriptor?.thread !== undefined) trackDescriptor.thread.tid = 1;
      }
      return packets;
    }),
    /is 0 or there twice/,
  );
  // field 9 of a packet as text is no field of Perfetto's
  const strange = Buffer.concat([encodeTrace(timeline), Buffer.from([0x0a, 4, 0xca, 0x3e, 1, 0x61])]);
  assert.match(verdict(strange).problems.join('\n'), /field 1001|no sequence id/);
});

test.run();
