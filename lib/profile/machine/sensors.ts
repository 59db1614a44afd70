/** All sensors of a machine, for repeated reading: fixed facts are read once, slow commands are started once. */

import type { MachineProbe } from '../../support/machineProbe.ts';
import type { MachineSnapshot } from '../types.ts';
import { countCores } from './board.ts';
import { readClocks } from './clocks.ts';
import { LineStream } from './lineStream.ts';
import { streamGpu } from './nvidiaSmi.ts';
import { UnreadText } from './parsed.ts';
import { readPowerPeriod } from './powerRails.ts';
import { hasGpuClock, hidesSensors, momentOf } from './readMachine.ts';
import { rememberingProbe } from './rememberingProbe.ts';
import { parseTegrastats } from './tegrastats.ts';

export interface Sensors {
  readonly cores: number;
  /** Milliseconds between two values of the sensor from which energy is computed; null: unknown. */
  readonly powerPeriodMs: number | null;
  /** Process ids of the commands that were started. */
  readonly pids: readonly number[];
  read(): MachineSnapshot;
  close(): void;
}

/** A command's newest line counts as current for this many intervals; after that the sensor counts as gone. */
const staleAfter = 3;
const leastStaleMs = 1000;

export function openSensors(thisMachine: MachineProbe, intervalMs: number): Sensors {
  const probe = rememberingProbe(thisMachine);
  const gpu = hasGpuClock(readClocks(probe)) ? null : streamGpu(probe, intervalMs);
  const isTegra = probe.readText('/etc/nv_tegra_release') !== null;
  const board =
    isTegra && hidesSensors(probe)
      ? new LineStream('tegrastats', ['--interval', String(Math.round(intervalMs))])
      : null;
  const maxAgeMs = Math.max(staleAfter * intervalMs, leastStaleMs);
  return {
    cores: countCores(probe),
    powerPeriodMs: gpu?.powerPeriodMs ?? readPowerPeriod(probe),
    pids: [gpu?.pid, board?.pid].filter((pid) => pid !== undefined),
    read: () => {
      const unread = new UnreadText();
      const line = board?.latest(maxAgeMs) ?? null;
      return momentOf(
        probe,
        unread.valueIn(gpu?.read(maxAgeMs) ?? null),
        unread.valueIn(line === null ? null : parseTegrastats(line)),
        unread,
      );
    },
    close: () => {
      gpu?.close();
      board?.close();
    },
  };
}
