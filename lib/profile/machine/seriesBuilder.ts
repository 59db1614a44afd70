/** Samples as one column per sensor. A value that was not read is a gap, and so is one that no such sensor can measure. */

import type { MachineSeries, MachineSnapshot, Reading, SensorSeries } from '../types.ts';
import { grownCounters } from './counters.ts';
import { UnreadText } from './parsed.ts';
import { energySource } from './powerRails.ts';

type Kind = SensorSeries['kind'];

/** What a reading of a kind may be: beyond it the text was garbage, or the sensor is off. */
const ranges: Readonly<Record<Kind, { readonly unit: string; readonly min: number; readonly max: number }>> =
  {
    // channels of INA3221 have an offset and tell a little below 0 when nothing flows
    power: { unit: 'W', min: -1, max: 20_000 },
    clock: { unit: 'MHz', min: 0, max: 50_000 },
    temperature: { unit: '°C', min: -55, max: 250 },
    load: { unit: '%', min: 0, max: 100.5 },
  };

interface Column {
  readonly kind: Kind;
  readonly name: string;
  values: (number | null)[];
}

/** `throttling` and times on the clock of the samples; MachineSeries counts from the start of the run. */
export type SampledSeries = Omit<MachineSeries, 'startMonotonicMs'>;

export interface SeriesBuilderOptions {
  readonly cores: number;
  readonly powerPeriodMs: number | null;
  /** Samples that are kept, even; when there are as many, every second one is dropped, and from then on not taken over. */
  readonly most?: number;
}

export class SeriesBuilder {
  readonly #options: SeriesBuilderOptions;
  readonly #most: number;
  readonly #columns = new Map<string, Column>();
  readonly #throttling = new Map<string, { fromMs: number; toMs: number }>();
  #atMs: number[] = [];
  /** One sample in this many is kept. */
  #every = 1;
  #seen = 0;
  readonly #unread = new UnreadText();
  #refusedTimes = 0;
  #refusedValues = 0;
  #last: { readonly atMs: number; readonly snapshot: MachineSnapshot } | null = null;
  #energyFrom: MachineSeries['energyFrom'] = null;

  constructor(options: SeriesBuilderOptions) {
    this.#options = options;
    this.#most = options.most ?? 4096;
  }

  /** @param atMs monotonic; a sample that is not later than the one before is refused and counted */
  add(snapshot: MachineSnapshot, atMs: number): void {
    const last = this.#last;
    if (!Number.isFinite(atMs) || (last !== null && atMs <= last.atMs)) {
      this.#refusedTimes++;
      return;
    }
    this.#noteThrottling(snapshot, atMs);
    for (const text of snapshot.unread ?? []) this.#unread.add(text);
    if (this.#seen++ % this.#every !== 0) return;
    const row = this.#row(snapshot, atMs);
    this.#last = { atMs, snapshot };
    const count = this.#atMs.push(atMs);
    for (const [key, { kind, name, value }] of row) {
      if (!this.#columns.has(key))
        this.#columns.set(key, { kind, name, values: new Array<null>(count - 1).fill(null) });
      this.#columns.get(key)!.values.push(this.#checked(kind, value));
    }
    for (const { values } of this.#columns.values()) if (values.length < count) values.push(null);
    if (count >= this.#most) this.#thin();
  }

  #checked(kind: Kind, value: number): number | null {
    const { min, max } = ranges[kind];
    if (value >= min && value <= max) return value;
    this.#refusedValues++;
    return null;
  }

  #row(snapshot: MachineSnapshot, atMs: number): Map<string, { kind: Kind } & Reading> {
    const row = new Map<string, { kind: Kind } & Reading>();
    const add = (kind: Kind, readings: readonly Reading[]): void => {
      for (const { name, value } of readings) row.set(`${kind} ${name}`, { kind, name, value });
    };
    add('power', this.#powerOf(snapshot));
    add('temperature', snapshot.temperatures);
    const cores = snapshot.clocks.filter(({ name }) => /^cpu\d+$/.test(name)).map(({ value }) => value);
    add(
      'clock',
      snapshot.clocks.filter(({ name }) => !/^cpu\d+$/.test(name)),
    );
    if (cores.length > 0) {
      add('clock', [
        { name: 'cpu slowest', value: Math.min(...cores) },
        { name: 'cpu fastest', value: Math.max(...cores) },
      ]);
    }
    add('load', [...(snapshot.loads ?? []), ...this.#cpuLoad(snapshot, atMs)]);
    return row;
  }

  /** `total` is one sum: where a part of it is missing once, and another set of rails is there, that is not it. */
  #powerOf({ power }: MachineSnapshot): readonly Reading[] {
    const source = energySource(power);
    if (source !== null) this.#energyFrom ??= { ...source, periodMs: this.#options.powerPeriodMs };
    const isSame = source === null || source.words === this.#energyFrom?.words;
    return isSame ? power : power.filter(({ name }) => name !== 'total');
  }

  /** From the processor time of all cores since the sample before. */
  #cpuLoad(snapshot: MachineSnapshot, atMs: number): Reading[] {
    if (this.#last === null) return [];
    const busy = (one: MachineSnapshot): number | undefined =>
      one.counters?.find(({ name }) => name === 'cpu-busy')?.value;
    const [before, after] = [busy(this.#last.snapshot), busy(snapshot)];
    const seconds = ((atMs - this.#last.atMs) / 1000) * this.#options.cores;
    if (before === undefined || after === undefined || after < before || !(seconds > 0)) return [];
    // the kernel counts ticks of 10 ms: a short interval may seem to be more than fully busy
    return [{ name: 'cpu', value: Math.min(100, (100 * (after - before)) / seconds) }];
  }

  #noteThrottling(snapshot: MachineSnapshot, atMs: number): void {
    const grown =
      this.#last === null
        ? []
        : grownCounters(this.#last.snapshot.counters ?? [], snapshot.counters ?? []).map((words) =>
            words.replace(/ \(\d+ times\)$/, ''),
          );
    for (const reason of [...snapshot.throttling, ...grown]) {
      const known = this.#throttling.get(reason);
      if (known === undefined) this.#throttling.set(reason, { fromMs: atMs, toMs: atMs });
      else known.toMs = atMs;
    }
  }

  /** Half the samples; those that come are taken over half as often. */
  #thin(): void {
    const isKept = (_: unknown, i: number): boolean => i % 2 === 0;
    this.#atMs = this.#atMs.filter(isKept);
    for (const column of this.#columns.values()) column.values = column.values.filter(isKept);
    // the newest was dropped: keep the next one at the old distance from it
    this.#seen = this.#every + 1;
    this.#every *= 2;
  }

  /** null where no sensor reported anything. */
  result(): SampledSeries | null {
    if (this.#columns.size === 0) return null;
    return {
      atMs: this.#atMs,
      sensors: joinedCores([...this.#columns.values()]).map(({ kind, name, values }) => ({
        kind,
        name,
        unit: ranges[kind].unit,
        // more digits than any of these sensors has
        values: values.map((value) => (value === null ? null : Math.round(value * 1e4) / 1e4)),
      })),
      energyFrom: this.#energyFrom,
      throttling: [...this.#throttling].map(([reason, span]) => ({ reason, ...span })),
      refused: { times: this.#refusedTimes, values: this.#refusedValues },
      ...(this.#unread.texts.length === 0 ? {} : { unread: this.#unread.texts }),
    };
  }
}

/** Cores that always had one clock are one sensor. */
function joinedCores(columns: readonly Column[]): readonly Column[] {
  const [slowest, fastest] = ['cpu slowest', 'cpu fastest'].map((name) =>
    columns.find((column) => column.name === name),
  );
  if (slowest === undefined || fastest === undefined) return columns;
  if (slowest.values.some((value, i) => value !== fastest.values[i])) return columns;
  return columns.flatMap((column) =>
    column === fastest ? [] : column === slowest ? [{ ...column, name: 'cpu' }] : [column],
  );
}

/** Times counted from the start of the run. */
export function fromStart(series: SampledSeries, startMonotonicMs: number): MachineSeries {
  const since = (ms: number): number => Math.round((ms - startMonotonicMs) * 1000) / 1000;
  return {
    ...series,
    atMs: series.atMs.map(since),
    startMonotonicMs,
    throttling: series.throttling.map(({ reason, fromMs, toMs }) => ({
      reason,
      fromMs: since(fromMs),
      toMs: since(toMs),
    })),
  };
}
