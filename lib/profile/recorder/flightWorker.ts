/** The thread of flightRecorder.ts: encodes and writes, away from the loop. */

import { parentPort } from 'node:worker_threads';
import { encodeTrace } from '../trace/perfettoTrace.ts';
import { flightName, writeFlight } from './flightFiles.ts';
import { type FlightFacts, flightTimeline } from './flightTimeline.ts';
import type { Recording } from './recorder.ts';

export interface FlightJob {
  readonly recording: Recording;
  readonly facts: FlightFacts;
  readonly dir: string;
  readonly files: number;
}

export type FlightReply = { readonly file: string } | { readonly code: string; readonly message: string };

const port = parentPort;
if (port === null) throw new Error('flightWorker.ts runs only as a worker thread');

port.on('message', ({ recording, facts, dir, files }: FlightJob) => {
  write(recording, facts, dir, files)
    .then(
      (file): FlightReply => ({ file }),
      (error: NodeJS.ErrnoException): FlightReply => ({
        code: error.code ?? 'DEFECT',
        message: error.message,
      }),
    )
    .then((reply) => port.postMessage(reply));
});

async function write(recording: Recording, facts: FlightFacts, dir: string, files: number): Promise<string> {
  const bytes = encodeTrace(flightTimeline(recording, facts));
  return writeFlight(dir, flightName(new Date(facts.realtimeMs), facts.why), bytes, files);
}
