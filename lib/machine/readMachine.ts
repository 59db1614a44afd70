/** The machine at one moment: what it is, and its temperatures, clocks, load and throttling. Nothing here throws or guesses. */

import { readCpuModel } from '../support/cpuModel.ts';
import { type MachineProbe, machineProbe as thisMachine } from '../support/machineProbe.ts';
import { countCores, readBoard, readGovernor, readOs, readTegraGpu, readVirtual } from './board.ts';
import { areClocksHeld, readClockRanges, readClocks, readLoads } from './clocks.ts';
import { readCounters } from './counters.ts';
import { inputPower, readPowerRails } from './hwmon.ts';
import { parseJetsonClocks, parseNvpmodel, parseTegraRelease } from './jetson.ts';
import { type GpuMoment, gpuFacts, gpuMoment, readGpuCells } from './nvidiaSmi.ts';
import { type Parsed, UnreadText } from './parsed.ts';
import { parseTegrastats, type TegraSample } from './tegrastats.ts';
import { readTemperatureLimits, readTemperatures } from './thermalZones.ts';
import type { MachineSnapshot, MachineState, Reading } from './types.ts';

/** Options of `readMachine`. */
export interface ReadMachineOptions {
  /** For tests: another machine to read. */
  readonly probe?: MachineProbe;
}

/**
 * What this machine is and how it is set: board, clocks, temperatures, power mode. `end`, `energy` and `sampling` are null:
 * `watchMachine` fills them in. May take some seconds if tools are slow.
 *
 * @param options of tests
 * @throws never: what cannot be read is null
 */
export function readMachine({ probe = thisMachine }: ReadMachineOptions = {}): MachineState {
  const unread = new UnreadText();
  const smi = unread.valueIn(readGpuCells(probe));
  const release = probe.readText('/etc/nv_tegra_release');
  const parse = <T>(text: string | null, parser: (text: string) => Parsed<T>): T | null =>
    text === null ? null : unread.valueIn(parser(text));
  // both exist only on a Jetson; asking elsewhere would just cost time
  const ask = (command: string, option: string): string | null =>
    release === null ? null : probe.run(command, [option]);
  const mode = parse(ask('nvpmodel', '-q'), parseNvpmodel);
  const shown = parse(ask('jetson_clocks', '--show'), parseJetsonClocks);
  const ranges = readClockRanges(probe);
  const missing = (shown?.ranges ?? []).filter(({ name }) => !ranges.some((range) => range.name === name));
  const tegra = readTegraGpu(probe);
  const facts = smi && gpuFacts(smi);
  const computeCapability = facts?.computeCapability ?? tegra?.computeCapability ?? null;
  return {
    board: readBoard(probe),
    cpu: { model: readCpuModel(probe), cores: countCores(probe), governor: readGovernor(probe) },
    gpu: facts ? { ...facts, computeCapability } : tegra && { ...tegra, driver: null, memoryBytes: null },
    jetpack: parse(release, parseTegraRelease) ?? (release && 'L4T unknown'),
    powerMode: mode ?? shown?.powerMode ?? null,
    clocksLocked: shown?.locked ?? areClocksHeld(ranges),
    clockRanges: [...ranges, ...missing],
    temperatureLimits: readTemperatureLimits(probe),
    virtual: readVirtual(probe),
    os: readOs(probe),
    start: snapshotOf(probe, smi && gpuMoment(smi), unread),
    end: null,
    energy: null,
    sampling: null,
  };
}

/** The machine now. `nvidia-smi` (tens of milliseconds) is asked only if sysfs shows no GPU clock. */
export function readSnapshot(probe: MachineProbe): MachineSnapshot {
  const unread = new UnreadText();
  const smi = hasGpuClock(readClocks(probe)) ? null : unread.valueIn(readGpuCells(probe));
  return snapshotOf(probe, smi && gpuMoment(smi), unread);
}

export const hasGpuClock = (clocks: readonly Reading[]): boolean =>
  clocks.some(({ name }) => name.startsWith('gpu'));

function snapshotOf(probe: MachineProbe, smi: GpuMoment | null, unread: UnreadText): MachineSnapshot {
  // tegrastats never ends by itself: `head` ends it
  const command = ['-c', 'tegrastats --interval 100 | head -n 1'];
  const line = needsTegrastats(probe) ? probe.run('sh', command) : null;
  // a line without its end may have been cut
  const whole = line?.endsWith('\n') ? parseTegrastats(line) : null;
  return momentOf(probe, smi, unread.valueIn(whole), unread);
}

/**
 * Whether `tegrastats`, if it is there, is the only source: a container may have the command but hide the sensors, so that
 * sysfs has neither rails nor temperatures.
 */
export const needsTegrastats = (probe: MachineProbe): boolean =>
  probe.readText('/etc/nv_tegra_release') !== null &&
  readPowerRails(probe) === null &&
  readTemperatures(probe).length === 0;

/** Readings from sysfs, completed by those from nvidia-smi and tegrastats. */
export function momentOf(
  probe: MachineProbe,
  smi: GpuMoment | null,
  tegra: TegraSample | null,
  unread: UnreadText,
): MachineSnapshot {
  for (const words of tegra?.unknown ?? []) unread.add(`tegrastats: ${words}`);
  const clocks = readClocks(probe);
  const monitors = readPowerRails(probe);
  const rails = monitors?.rails ?? tegra?.power ?? [];
  const temperatures = readTemperatures(probe);
  const [load] = (probe.readText('/proc/loadavg') ?? '').split(' ', 1);
  const available = /^MemAvailable:\s*(\d+) kB/m.exec(probe.readText('/proc/meminfo') ?? '')?.[1];
  return {
    at: new Date().toISOString(),
    temperatures: withMore(temperatures.length > 0 ? temperatures : (tegra?.temperatures ?? []), {
      gpu: smi?.temperature,
    }),
    clocks: withMore(clocks, {
      gpu: hasGpuClock(clocks) ? null : (smi?.clock ?? tegra?.gpu.mhz),
      'gpu-memory': smi?.memoryClock,
      emc: tegra?.emc.mhz,
    }),
    // `total` if the rails show what goes in; `gpu-board` is what an add-in card draws
    power: withMore(rails, {
      'gpu-board': rails.length > 0 ? null : smi?.watts,
      total: inputPower(rails)?.watts,
    }),
    throttling: [...(monitors?.alarms ?? []), ...(smi?.reasons ?? [])],
    load: load === undefined || !/^\d+\.\d+$/.test(load) ? null : Number(load) / countCores(probe),
    loads: withMore([...readLoads(probe), ...(smi?.loads ?? [])], {
      gpu: tegra?.gpu.percent,
      emc: tegra?.emc.percent,
    }),
    memoryFreeBytes: available === undefined ? null : Number(available) * 1024,
    counters: readCounters(probe),
    ...(unread.texts.length === 0 ? {} : { unread: unread.texts }),
  };
}

/** Adds further readings that are known and whose names are not taken. */
function withMore(
  readings: readonly Reading[],
  more: Readonly<Record<string, number | null | undefined>>,
): Reading[] {
  const taken = new Set(readings.map(({ name }) => name));
  const added = Object.entries(more).flatMap(([name, value]) =>
    value == null || taken.has(name) ? [] : [{ name, value }],
  );
  return [...readings, ...added];
}
