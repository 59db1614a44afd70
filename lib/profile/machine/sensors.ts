/** All sensors of a machine, for many readings: what stays is looked up once, what is slow to start is started once. */

import type { MachineProbe } from '../../support/machineProbe.ts';
import type { MachineSnapshot } from '../types.ts';
import { countCores } from './board.ts';
import { readClocks } from './clocks.ts';
import { findGpuQuery, parseGpuMoment, streamGpu } from './gpuStream.ts';
import { LineStream } from './lineStream.ts';
import { UnreadText } from './parsed.ts';
import { inputPower, type RailLimits, readRailLimits } from './powerRails.ts';
import { type EnergyCounter, readEnergyCounters, wattsBetween } from './rapl.ts';
import { hasGpuClock, hidesSensors, momentOf } from './readMachine.ts';
import { rememberingProbe } from './rememberingProbe.ts';
import { parseTegrastats } from './tegrastats.ts';

export interface Sensors {
  readonly cores: number;
  /** What the power sensors themselves are able to tell. */
  readonly limits: readonly RailLimits[];
  /** Of the commands that were started. */
  readonly pids: readonly number[];
  read(): MachineSnapshot;
  close(): void;
}

/** A command's newest line is as good as now for this many intervals; then the sensor is gone. */
const staleAfter = 3;
const leastStaleMs = 1000;
/** RAPL renews its counters every millisecond or so (Intel SDM, 16.10); a counter tells less than a power monitor steps. */
const counterMs = 1;

export function openSensors(
  thisMachine: MachineProbe,
  intervalMs: number,
  now: () => number = () => performance.now(),
): Sensors {
  const probe = rememberingProbe(thisMachine);
  const query = hasGpuClock(readClocks(probe)) ? null : findGpuQuery(probe);
  const gpu = query && streamGpu(query, intervalMs);
  const isTegra = probe.readText('/etc/nv_tegra_release') !== null;
  const board =
    isTegra && hidesSensors(probe)
      ? new LineStream('tegrastats', ['--interval', String(Math.round(intervalMs))])
      : null;
  const maxAgeMs = Math.max(staleAfter * intervalMs, leastStaleMs);
  let counters: readonly EnergyCounter[] = readEnergyCounters(probe);
  let countedAt = now();
  const limits: RailLimits[] = [
    ...readRailLimits(probe),
    // two decimals
    ...(query === null ? [] : [{ name: 'gpu-board', periodMs: query.powerPeriodMs, step: 0.01 }]),
    ...counters.map(({ name }) => ({ name, periodMs: counterMs, step: null })),
  ];
  return {
    cores: countCores(probe),
    limits: withTotal(limits),
    pids: [gpu?.pid, board?.pid].filter((pid) => pid !== undefined),
    read: () => {
      const gpuLine = gpu?.latest(maxAgeMs) ?? null;
      const boardLine = board?.latest(maxAgeMs) ?? null;
      const unread = new UnreadText();
      const snapshot = momentOf(
        probe,
        unread.valueIn(gpuLine === null ? null : parseGpuMoment(gpuLine)),
        unread.valueIn(boardLine === null ? null : parseTegrastats(boardLine)),
        unread,
      );
      if (counters.length === 0) return snapshot;
      const [next, at] = [readEnergyCounters(probe), now()];
      // not read once: the next mean is over both intervals
      if (next.length < counters.length) return snapshot;
      const watts = wattsBetween(counters, next, (at - countedAt) / 1000);
      [counters, countedAt] = [next, at];
      return { ...snapshot, power: [...snapshot.power, ...watts] };
    },
    close: () => {
      gpu?.close();
      board?.close();
    },
  };
}

/** `total` is as slow as the slowest of its rails, and its step is that of all of them. */
function withTotal(limits: readonly RailLimits[]): RailLimits[] {
  const input = inputPower(limits.map(({ name }) => ({ name, value: 0 })));
  if (input === null) return [...limits];
  const parts = limits.filter(({ name }) => input.from.split(' + ').includes(name));
  const periods = parts.flatMap(({ periodMs }) => periodMs ?? []);
  const steps = parts.flatMap(({ step }) => step ?? []);
  return [
    ...limits,
    {
      name: 'total',
      periodMs: periods.length === parts.length ? Math.max(...periods) : null,
      step: steps.length === parts.length ? steps.reduce((sum, step) => sum + step, 0) : null,
    },
  ];
}
