/** The thread of flightRecorder.ts: encodes and writes, away from the loop. */

import { parentPort } from 'node:worker_threads';
import { encodeTrace } from '../trace/perfettoTrace.ts';
import { type FlightFormat, flightName, writeFlight } from './flightFiles.ts';
import { encodeMcap } from './flightMcap.ts';
import { type FlightFacts, flightTimeline } from './flightTimeline.ts';
import type { Recording } from './recorder.ts';
import type { Scene } from './sceneRing.ts';

export interface FlightJob {
  readonly recording: Recording;
  /** null: no MCAP file. */
  readonly scenes: readonly Scene[] | null;
  readonly facts: FlightFacts;
  readonly dir: string;
  readonly files: number;
}

export type FlightReply =
  | { readonly files: readonly string[] }
  | { readonly code: string; readonly message: string };

const port = parentPort;
if (port === null) throw new Error('flightWorker.ts runs only as a worker thread');

port.on('message', (job: FlightJob) => {
  write(job)
    .then(
      (files): FlightReply => ({ files }),
      (error: NodeJS.ErrnoException): FlightReply => ({
        code: error.code ?? 'DEFECT',
        message: error.message,
      }),
    )
    .then((reply) => port.postMessage(reply));
});

async function write({ recording, scenes, facts, dir, files }: FlightJob): Promise<readonly string[]> {
  const put = (format: FlightFormat, bytes: Uint8Array): Promise<string> =>
    writeFlight(dir, flightName(new Date(facts.realtimeMs), facts.why, format), bytes, files);
  const trace = await put('perfetto-trace', encodeTrace(flightTimeline(recording, facts)));
  return scenes === null ? [trace] : [trace, await put('mcap', await encodeMcap(recording, scenes, facts))];
}
