/** The part of types.ts that tells the machine's sensors over a run, and the energy that follows from them. Plain JSON. */

/** One sensor over a run. */
export interface SensorSeries {
  /** `load`: share of the time that it was busy. */
  readonly kind: 'power' | 'clock' | 'temperature' | 'load';
  /** `VDD_GPU_SOC`, `total`, `gpu`, `cpu slowest`, `cpu fastest`, `emc`, `tj`, ... */
  readonly name: string;
  /** `W`, `MHz`, `°C`, `%` */
  readonly unit: string;
  /** At the times of `MachineSeries.atMs`; null: not read, or nothing that this sensor can have measured. */
  readonly values: readonly (number | null)[];
  /** `moment`: as it was then; `mean`: over the time since the sample before (from a counter of energy). */
  readonly is: 'moment' | 'mean';
  /** How often the sensor itself has a new value, milliseconds; null where nobody tells. */
  readonly periodMs: number | null;
  /** Its smallest step, in `unit`; null where nobody tells. `stepIs` says who: the device, or the values that were seen. */
  readonly step: number | null;
  readonly stepIs: 'device' | 'seen';
}

/** The sensors while a run went on, read on a thread of its own. */
export interface MachineSeries {
  /** Milliseconds since the start of the run, as `ChunkRecord.startMs`; ascending. Before 0: loading and warm-up. */
  readonly atMs: readonly number[];
  /** CLOCK_MONOTONIC at 0, milliseconds. */
  readonly startMonotonicMs: number;
  /** When the first chunk that counts began; before it there was warm-up. */
  readonly measuredFromMs?: number;
  readonly sensors: readonly SensorSeries[];
  /** What energy is made of here: sensors to add up, and in words what they leave out; null: nothing tells power. */
  readonly energyFrom: { readonly sensors: readonly string[]; readonly words: string } | null;
  /** Alarms and throttle reasons, from the first sample that saw one to the last. */
  readonly throttling: readonly { readonly reason: string; readonly fromMs: number; readonly toMs: number }[];
  /** Samples that were not taken over since time had not gone on, and values that no such sensor can have. */
  readonly refused: { readonly times: number; readonly values: number };
  /** As `MachineSnapshot.unread`, each text once. */
  readonly unread?: readonly string[];
}

/** Energy of one subject, from the turns in which it ran alone. */
export interface SubjectEnergy {
  /** null: it cannot be told, and `because` says why. */
  readonly joulesPerChunk: number | null;
  /** What the edges of the turns and the step of the sensor can have added or hidden, joules a chunk; not the sensor's own error. */
  readonly plusMinus: number | null;
  readonly meanWatts: number | null;
  /** The sensors that were added up, and what they leave out. */
  readonly source: string | null;
  /** Turns that were long enough and without a gap, of how many. */
  readonly turns: number;
  readonly ofTurns: number;
  /** Chunks and seconds of these turns, and the samples inside them. */
  readonly chunks: number;
  readonly seconds: number;
  readonly samples: number;
  /** Milliseconds between two samples (median), of the sensor's own values, and its step in watts. */
  readonly samplingMs: number | null;
  readonly sensorMs: number | null;
  readonly stepWatts: number | null;
  readonly because: string | null;
}
