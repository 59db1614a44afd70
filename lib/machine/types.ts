/**
 * What a machine is and what was seen of it during a run. Only types of plain JSON; no behaviour. Times are in milliseconds on the
 * monotonic clock, counted from the start of the run, unless a name says otherwise.
 */

/** Something the reader must know before believing a number. */
export interface Warning {
  /** Stable, kebab-case: `clocks-unlocked`, `throttled`, `warm-up-short`, `background-load`, `governor-powersave`, ... */
  readonly code: string;
  /** What was seen, how it affects the numbers, and the command that changes it. */
  readonly text: string;
}

/** The value of one sensor at one moment. */
export interface Reading {
  readonly name: string;
  readonly value: number;
}

/** The state of the machine at one moment. What the machine does not report is null, never guessed. */
export interface MachineSnapshot {
  readonly at: string;
  /** Degrees Celsius by zone. */
  readonly temperatures: readonly Reading[];
  /** MHz by clock domain (`cpu0`, `gpu`, `emc`). */
  readonly clocks: readonly Reading[];
  /** Watts by rail; `total` if the board reports its input. */
  readonly power: readonly Reading[];
  /** Names of throttle reasons or alarms that were active. */
  readonly throttling: readonly string[];
  /** Load average of the last minute, per core. */
  readonly load: number | null;
  /** Percent of the time that a part was busy: `gpu`, `gpu-memory`, `emc`, as far as the machine reports them. */
  readonly loads?: readonly Reading[];
  readonly memoryFreeBytes: number | null;
  /** Counts since boot; their growth shows what happened during a run: `oc3_event_cnt`, `cpu-busy`, `cpu-steal` (seconds). */
  readonly counters?: readonly Reading[];
  /** Output of the board's tools that was skipped (unknown words) or refused (a cut line); absent if there is none. */
  readonly unread?: readonly string[];
}

/** The range in which a clock may move, or did, in MHz; equal ends: the clock is fixed. */
export interface ClockRange {
  /** As in `MachineSnapshot.clocks`. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

/** How the machine was sampled during a run, and what that cost. */
export interface MachineSampling {
  readonly samples: number;
  readonly intervalMs: number;
  /** Mean milliseconds that one sample takes on the sampling thread; most of it is waiting for a bus. */
  readonly costMs: number;
  /** What all samples took, in percent of one core: processor time if the kernel reports it, else elapsed time. */
  readonly costPercent: number;
  /** Percent of all cores used by other processes; null if unknown. */
  readonly othersPercent: number | null;
  /** The busiest of these by name, in percent of one core. */
  readonly others: readonly Reading[];
}

/** The values of one sensor over a run. */
export interface SensorSeries {
  /** `load` is the share of the time that a part was busy. */
  readonly kind: 'power' | 'clock' | 'temperature' | 'load';
  /** `VDD_GPU_SOC`, `total`, `gpu`, `cpu slowest`, `cpu fastest`, `emc`, `tj`, ... */
  readonly name: string;
  /** `W`, `MHz`, `°C`, `%` */
  readonly unit: string;
  /** At the times of `MachineSeries.atMs`; null: not read, or a value that such a sensor cannot have measured. */
  readonly values: readonly (number | null)[];
}

/** All sensors over a run, read on a separate thread. */
export interface MachineSeries {
  /** Milliseconds since the start of the run, as in `ChunkRecord.startMs`; ascending. Below 0: loading and warm-up. */
  readonly atMs: readonly number[];
  /** CLOCK_MONOTONIC at time 0, in milliseconds. */
  readonly startMonotonicMs: number;
  /** When the first counted chunk began; before it was warm-up. */
  readonly measuredFromMs?: number;
  readonly sensors: readonly SensorSeries[];
  /**
   * The power sensor from which energy is computed, described with what it does not cover, and how often it has a new value,
   * in milliseconds (null: unknown). null: there is no power sensor.
   */
  readonly energyFrom: {
    readonly sensor: string;
    readonly words: string;
    readonly periodMs: number | null;
  } | null;
  /** Alarms and throttle reasons, each from the first sample that showed it to the last. */
  readonly throttling: readonly { readonly reason: string; readonly fromMs: number; readonly toMs: number }[];
  /** As `MachineSnapshot.unread`, without repetition. */
  readonly unread?: readonly string[];
}

/** Energy of one subject, from the turns in which only this subject ran. */
export interface SubjectEnergy {
  /** null: unknown, and `because` says why. */
  readonly joulesPerChunk: number | null;
  readonly meanWatts: number | null;
  /** The sensor, and what it does not cover. */
  readonly source: string | null;
  /** Number of usable turns (long enough and without a gap), and of all turns. */
  readonly turns: number;
  readonly ofTurns: number;
  /** Chunks and seconds in the usable turns, and the samples taken in them. */
  readonly chunks: number;
  readonly seconds: number;
  readonly samples: number;
  /** Median milliseconds between two samples, and between two values of the sensor. */
  readonly samplingMs: number | null;
  readonly sensorMs: number | null;
  readonly because: string | null;
}

/** What the machine is, and its state at the start and the end of a run. */
export interface MachineState {
  /** `NVIDIA Jetson AGX Orin Developer Kit`, or the machine's product name. */
  readonly board: string;
  readonly cpu: { readonly model: string; readonly cores: number; readonly governor: string | null };
  readonly gpu: {
    readonly name: string;
    readonly computeCapability: string | null;
    readonly driver: string | null;
    readonly memoryBytes: number | null;
  } | null;
  /** `L4T 36.4.3, JetPack 6.2`; null if it is not a Jetson. */
  readonly jetpack: string | null;
  /** `MAXN`, `15W`; null if the board has no power modes. */
  readonly powerMode: string | null;
  /** Whether the clocks are fixed; null if unknown. */
  readonly clocksLocked: boolean | null;
  readonly clockRanges?: readonly ClockRange[];
  /** Degrees Celsius at which the machine slows down, by zone. */
  readonly temperatureLimits?: readonly Reading[];
  /** `virtual machine`, `container`, or both; null if neither is visible. */
  readonly virtual?: string | null;
  readonly os: string;
  readonly start: MachineSnapshot;
  readonly end: MachineSnapshot | null;
  /** Over the whole run and all its chunks, including warm-up; null if unknown. */
  readonly energy: SubjectEnergy | null;
  readonly sampling?: MachineSampling | null;
  /** null: nothing was sampled. */
  readonly series?: MachineSeries | null;
}
