/** All sensors of a machine, for repeated reading: fixed facts are read once, slow commands are started once. */

import type { MachineProbe } from '../support/machineProbe.ts';
import { countCores } from './board.ts';
import { readClocks } from './clocks.ts';
import { readPowerPeriod } from './hwmon.ts';
import { LineStream } from './lineStream.ts';
import { streamGpu } from './nvidiaSmi.ts';
import { UnreadText } from './parsed.ts';
import { hasGpuClock, momentOf, needsTegrastats } from './readMachine.ts';
import { parseTegrastats } from './tegrastats.ts';
import type { MachineSnapshot } from './types.ts';

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
  const probe = remembering(thisMachine);
  const gpu = hasGpuClock(readClocks(probe)) ? null : streamGpu(probe, intervalMs);
  const board = needsTegrastats(probe)
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
      const tegra = line === null ? null : unread.valueIn(parseTegrastats(line));
      return momentOf(probe, unread.valueIn(gpu?.read(maxAgeMs) ?? null), tegra, unread);
    },
    close: () => {
      gpu?.close();
      board?.close();
    },
  };
}

/** Names, labels, kinds and resistors; also `online` and `enable`, since cores are not switched during a measurement. */
const fixed = /\/(name|label|type|online|in\d_label|in\d_enable|shunt\d_resistor|update_interval)$/;

/**
 * Reads changing values each time, everything else once. A folder that disappears keeps its names: its values are then null,
 * so that a series has a gap rather than one sensor fewer.
 */
function remembering(probe: MachineProbe): MachineProbe {
  const once = <T>(read: (path: string) => T): ((path: string) => T) => {
    const known = new Map<string, T>();
    return (path) => {
      if (!known.has(path)) known.set(path, read(path));
      return known.get(path)!;
    };
  };
  const fixedText = once((path) => probe.readText(path));
  return {
    readText: (path) => (fixed.test(path) ? fixedText(path) : probe.readText(path)),
    list: once((path) => probe.list(path)),
    run: (command, args) => probe.run(command, args),
  };
}
