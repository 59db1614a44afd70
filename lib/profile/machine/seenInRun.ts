/** What a run showed about the machine: the ranges of its sensors, and what slowed it. */

import type { ClockRange, MachineState, SensorSeries } from '../types.ts';
import { grownCounters } from './counters.ts';

/** Lowest and highest value of each sensor of a kind; empty if nothing was sampled. */
export function rangesOf({ series }: MachineState, kind: SensorSeries['kind']): ClockRange[] {
  return (series?.sensors ?? []).flatMap((sensor) => {
    const known = sensor.values.filter((value) => value !== null);
    return sensor.kind !== kind || known.length === 0
      ? []
      : [{ name: sensor.name, min: Math.min(...known), max: Math.max(...known) }];
  });
}

/** Everything that slowed the machine during the run, according to alarms, reasons and counters. */
export function throttlingOf({ start, end, series }: MachineState): string[] {
  const grown = end === null ? [] : grownCounters(start.counters ?? [], end.counters ?? []);
  const sampled = (series?.throttling ?? []).map(({ reason }) => reason);
  const counted = sampled.filter((reason) => !grown.some((words) => words.startsWith(`${reason} (`)));
  return [...new Set([...start.throttling, ...(end?.throttling ?? []), ...counted, ...grown])];
}
