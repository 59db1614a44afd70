/** What a run showed of the machine: how far its sensors went, and what slowed it. */

import type { ClockRange, MachineState, SensorSeries } from '../types.ts';
import { grownCounters } from './counters.ts';

/** Lowest and highest of each sensor of a kind; empty where nothing was sampled. */
export function rangesOf({ series }: MachineState, kind: SensorSeries['kind']): ClockRange[] {
  return (series?.sensors ?? []).flatMap((sensor) => {
    const known = sensor.values.filter((value) => value !== null);
    return sensor.kind !== kind || known.length === 0
      ? []
      : [{ name: sensor.name, min: Math.min(...known), max: Math.max(...known) }];
  });
}

/** Every reason for which the machine was slowed during the run, by alarms, reasons and counters. */
export function throttlingOf({ start, end, series }: MachineState): string[] {
  const grown = end === null ? [] : grownCounters(start.counters ?? [], end.counters ?? []);
  const sampled = (series?.throttling ?? []).map(({ reason }) => reason);
  const counted = sampled.filter((reason) => !grown.some((words) => words.startsWith(`${reason} (`)));
  return [...new Set([...start.throttling, ...(end?.throttling ?? []), ...counted, ...grown])];
}
