/** Collects samples into one column per sensor. A value that was not read, or that such a sensor cannot measure, becomes a gap. */

import { grownCounters, growth } from './counters.ts';
import { energySource } from './hwmon.ts';
import { UnreadText } from './parsed.ts';
import type { MachineSeries, MachineSnapshot, Reading, SensorSeries } from './types.ts';

type Kind = SensorSeries['kind'];

/** The possible values of a kind: anything beyond is garbage text, or a sensor that is off. */
const ranges: Readonly<Record<Kind, { readonly unit: string; readonly min: number; readonly max: number }>> =
  {
    // INA3221 channels have an offset and read slightly below 0 when no current flows
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

/** Times and `throttling` are on the clock of the samples; MachineSeries counts from the start of the run. */
export type SampledSeries = Omit<MachineSeries, 'startMonotonicMs'>;

export interface SeriesBuilderOptions {
  readonly cores: number;
  readonly powerPeriodMs: number | null;
  /** Most samples kept, an even number; when there are as many, every second one is dropped, and half as many are taken over. */
  readonly most?: number;
}

export class SeriesBuilder {
  readonly #options: SeriesBuilderOptions;
  readonly #columns = new Map<string, Column>();
  readonly #throttling = new Map<string, { fromMs: number; toMs: number }>();
  readonly #unread = new UnreadText();
  #atMs: number[] = [];
  /** One sample out of this many is kept. */
  #every = 1;
  #seen = 0;
  #last: { readonly atMs: number; readonly snapshot: MachineSnapshot } | null = null;
  #energyFrom: MachineSeries['energyFrom'] = null;

  constructor(options: SeriesBuilderOptions) {
    this.#options = options;
  }

  /** @param atMs monotonic; a sample no later than the previous one is refused */
  add(snapshot: MachineSnapshot, atMs: number): void {
    if (!(atMs > (this.#last?.atMs ?? Number.NEGATIVE_INFINITY))) return;
    this.#noteThrottling(snapshot, atMs);
    for (const text of snapshot.unread ?? []) this.#unread.add(text);
    if (this.#seen++ % this.#every !== 0) return;
    const before = this.#atMs.length;
    for (const [kind, readings] of Object.entries(this.#sensorsOf(snapshot, atMs)) as [Kind, Reading[]][]) {
      const { min, max } = ranges[kind];
      for (const { name, value } of readings) {
        const key = `${kind} ${name}`;
        if (!this.#columns.has(key))
          this.#columns.set(key, { kind, name, values: new Array<null>(before).fill(null) });
        this.#columns.get(key)!.values[before] = value >= min && value <= max ? value : null;
      }
    }
    this.#last = { atMs, snapshot };
    this.#atMs.push(atMs);
    for (const { values } of this.#columns.values()) if (values.length === before) values.push(null);
    if (this.#atMs.length >= (this.#options.most ?? 4096)) this.#thin();
  }

  #sensorsOf(snapshot: MachineSnapshot, atMs: number): Record<Kind, readonly Reading[]> {
    const { clocks, temperatures, loads = [] } = snapshot;
    const isCore = ({ name }: Reading): boolean => /^cpu\d+$/.test(name);
    const cores = clocks.filter(isCore).map(({ value }) => value);
    const ends = [
      { name: 'cpu slowest', value: Math.min(...cores) },
      { name: 'cpu fastest', value: Math.max(...cores) },
    ];
    return {
      power: this.#powerOf(snapshot),
      temperature: temperatures,
      clock: [...clocks.filter((clock) => !isCore(clock)), ...(cores.length > 0 ? ends : [])],
      load: [...loads, ...this.#cpuLoad(snapshot, atMs)],
    };
  }

  /** `total` is the sum of one set of rails: if one of them is missing once, and another set is present, that sum is not used. */
  #powerOf({ power }: MachineSnapshot): readonly Reading[] {
    const source = energySource(power);
    if (source !== null) this.#energyFrom ??= { ...source, periodMs: this.#options.powerPeriodMs };
    const isSame = source === null || source.words === this.#energyFrom?.words;
    return isSame ? power : power.filter(({ name }) => name !== 'total');
  }

  /** Computed from the processor time of all cores since the previous sample. */
  #cpuLoad({ counters }: MachineSnapshot, atMs: number): Reading[] {
    if (this.#last === null) return [];
    const busy = growth(this.#last.snapshot.counters, counters, 'cpu-busy');
    const seconds = ((atMs - this.#last.atMs) / 1000) * this.#options.cores;
    // the kernel counts ticks of 10 ms, so a short interval may appear more than fully busy
    return busy === null || busy < 0 ? [] : [{ name: 'cpu', value: Math.min(100, (100 * busy) / seconds) }];
  }

  #noteThrottling(snapshot: MachineSnapshot, atMs: number): void {
    const before = this.#last?.snapshot.counters ?? [];
    const grown = grownCounters(before, snapshot.counters ?? []).map((words) => words.replace(/ \(.*/, ''));
    for (const reason of [...snapshot.throttling, ...grown]) {
      const known = this.#throttling.get(reason);
      if (known === undefined) this.#throttling.set(reason, { fromMs: atMs, toMs: atMs });
      else known.toMs = atMs;
    }
  }

  /** Drops every second sample; from then on half as many are kept. */
  #thin(): void {
    const isKept = (_: unknown, i: number): boolean => i % 2 === 0;
    this.#atMs = this.#atMs.filter(isKept);
    for (const column of this.#columns.values()) column.values = column.values.filter(isKept);
    // the newest was dropped: keep the next one at the old distance from it
    this.#seen = this.#every + 1;
    this.#every *= 2;
  }

  /** null if no sensor reported anything. */
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
      ...(this.#unread.texts.length === 0 ? {} : { unread: this.#unread.texts }),
    };
  }
}

/** Cores that always had the same clock are joined into one sensor. */
function joinedCores(columns: readonly Column[]): readonly Column[] {
  const [slowest, fastest] = ['cpu slowest', 'cpu fastest'].map((name) =>
    columns.find((column) => column.name === name),
  );
  if (slowest?.values.some((value, i) => value !== fastest!.values[i]) !== false) return columns;
  const others = columns.filter((column) => column !== fastest);
  return others.map((column) => (column === slowest ? { ...column, name: 'cpu' } : column));
}

/** Converts times so that they count from the start of the run. */
export function fromStart(series: SampledSeries, startMonotonicMs: number): MachineSeries {
  const since = (ms: number): number => Math.round((ms - startMonotonicMs) * 1000) / 1000;
  const throttling = series.throttling.map(({ reason, fromMs, toMs }) => ({
    reason,
    fromMs: since(fromMs),
    toMs: since(toMs),
  }));
  return { ...series, atMs: series.atMs.map(since), startMonotonicMs, throttling };
}
