/** The machine at one moment: what it is, and how warm, fast, loaded and throttled. Nothing here throws or guesses. */

import { readCpuModel } from '../../support/cpuModel.ts';
import { type MachineProbe, machineProbe as thisMachine } from '../../support/machineProbe.ts';
import type { MachineSnapshot, MachineState, Reading } from '../types.ts';
import { countCores, readBoard, readOnBattery, readOs, readTegraGpu, readVirtual } from './board.ts';
import { areClocksHeld, readClockRanges, readClocks, readGovernor } from './clocks.ts';
import { readCounters } from './counters.ts';
import { parseJetsonClocks } from './jetsonClocks.ts';
import { readLoads } from './loads.ts';
import { type GpuMoment, type GpuReading, readNvidiaSmi } from './nvidiaSmi.ts';
import { parseNvpmodel } from './nvpmodel.ts';
import { type Parsed, UnreadText } from './parsed.ts';
import { inputPower, readPowerRails } from './powerRails.ts';
import { parseTegraRelease, releaseName } from './tegraRelease.ts';
import { parseTegrastatsLog, type TegraSample } from './tegrastats.ts';
import { readTemperatureLimits, readTemperatures } from './thermalZones.ts';

export interface ReadMachineOptions {
  /** For tests: another machine to look at. */
  readonly probe?: MachineProbe;
}

/** `end`, `energy` and `sampling` are null: finishMachine.ts fills them in. Takes up to some seconds where tools are slow. */
export function readMachine({ probe = thisMachine }: ReadMachineOptions = {}): MachineState {
  const unread = new UnreadText();
  const smi = unread.valueIn(readNvidiaSmi(probe));
  const releaseText = probe.readText('/etc/nv_tegra_release');
  const release = unread.valueIn(parse(releaseText, parseTegraRelease));
  // both are Jetson's; asking elsewhere would only cost time
  const ask = (command: string, option: string): string | null =>
    releaseText === null ? null : probe.run(command, [option]);
  const mode = unread.valueIn(parse(ask('nvpmodel', '-q'), parseNvpmodel));
  const shown = unread.valueIn(parse(ask('jetson_clocks', '--show'), parseJetsonClocks));
  const ranges = readClockRanges(probe);
  const missing = (shown?.ranges ?? []).filter(({ name }) => !ranges.some((range) => range.name === name));
  const tegra = readTegraGpu(probe);
  return {
    board: readBoard(probe),
    cpu: { model: readCpuModel(probe), cores: countCores(probe), governor: readGovernor(probe) },
    gpu: smi === null ? tegra && { ...tegra, driver: null, memoryBytes: null } : gpuOf(smi, tegra),
    jetpack: release === null ? releaseText && 'L4T unknown' : releaseName(release),
    powerMode: mode ?? shown?.powerMode ?? null,
    clocksLocked: shown?.locked ?? areClocksHeld(ranges),
    clockRanges: [...ranges, ...missing],
    temperatureLimits: readTemperatureLimits(probe),
    virtual: readVirtual(probe),
    onBattery: readOnBattery(probe),
    os: readOs(probe),
    start: snapshot(probe, smi, undefined, unread),
    end: null,
    energy: null,
    sampling: null,
  };
}

function gpuOf(smi: GpuReading, tegra: ReturnType<typeof readTegraGpu>): NonNullable<MachineState['gpu']> {
  const { name, driver, memoryBytes, computeCapability } = smi;
  return {
    name,
    driver,
    memoryBytes,
    computeCapability: computeCapability ?? tegra?.computeCapability ?? null,
  };
}

function parse<T>(text: string | null, parser: (text: string) => T): T | null {
  return text === null ? null : parser(text);
}

/** The machine now. `nvidia-smi` (tens of milliseconds) is asked only where sysfs shows no GPU clock. */
export function readSnapshot(probe: MachineProbe): MachineSnapshot {
  const clocks = readClocks(probe);
  const unread = new UnreadText();
  return snapshot(probe, hasGpuClock(clocks) ? null : unread.valueIn(readNvidiaSmi(probe)), clocks, unread);
}

export const hasGpuClock = (clocks: readonly Reading[]): boolean =>
  clocks.some(({ name }) => name.startsWith('gpu'));

function snapshot(
  probe: MachineProbe,
  smi: GpuReading | null,
  clocks: readonly Reading[] | undefined,
  unread: UnreadText,
): MachineSnapshot {
  // a container may see the command and not the sensors
  const tegra = hidesSensors(probe) ? unread.valueIn(readTegrastats(probe)) : null;
  return momentOf(probe, smi, tegra, unread, clocks);
}

/** No rails and no temperatures: only `tegrastats`, if it is there, tells any. */
export function hidesSensors(probe: MachineProbe): boolean {
  return readPowerRails(probe) === null && readTemperatures(probe).length === 0;
}

/** What sysfs tells now, with what others told of the GPU and of the board. */
export function momentOf(
  probe: MachineProbe,
  smi: GpuMoment | null,
  tegra: TegraSample | null,
  unread: UnreadText,
  clocks: readonly Reading[] = readClocks(probe),
): MachineSnapshot {
  for (const words of tegra?.unknown ?? []) unread.add(`tegrastats: ${words}`);
  const rails = readPowerRails(probe);
  const temperatures = readTemperatures(probe);
  const [load] = (probe.readText('/proc/loadavg') ?? '').split(' ', 1);
  const available = /^MemAvailable:\s*(\d+) kB/m.exec(probe.readText('/proc/meminfo') ?? '')?.[1];
  return {
    at: new Date().toISOString(),
    temperatures: withGpu(
      temperatures.length > 0 ? temperatures : (tegra?.temperatures ?? []),
      smi?.temperature ?? null,
    ),
    clocks: gpuClocks(clocks, smi, tegra),
    power: powerOf(rails?.rails ?? tegra?.power ?? [], smi?.watts ?? null),
    throttling: [...(rails?.alarms ?? []), ...(smi?.reasons ?? [])],
    load: load === undefined || !/^\d+\.\d+$/.test(load) ? null : Number(load) / countCores(probe),
    loads: loadsOf(readLoads(probe), smi, tegra),
    memoryFreeBytes: available === undefined ? null : Number(available) * 1024,
    counters: readCounters(probe),
    ...(unread.texts.length === 0 ? {} : { unread: unread.texts }),
  };
}

function withGpu(readings: readonly Reading[], value: number | null): Reading[] {
  const known = value === null || readings.some(({ name }) => name === 'gpu');
  return known ? [...readings] : [...readings, { name: 'gpu', value }];
}

function loadsOf(sysfs: readonly Reading[], smi: GpuMoment | null, tegra: TegraSample | null): Reading[] {
  const told = [...sysfs, ...(smi?.loads ?? [])];
  const add = (name: string, value: number | null | undefined): void => {
    if (value !== null && value !== undefined && !told.some((reading) => reading.name === name))
      told.push({ name, value });
  };
  add('gpu', tegra?.gpu?.percent);
  add('emc', tegra?.emc?.percent);
  return told;
}

function gpuClocks(clocks: readonly Reading[], smi: GpuMoment | null, tegra: TegraSample | null): Reading[] {
  const all = [...clocks];
  const add = (name: string, value: number | null | undefined): void => {
    if (value !== null && value !== undefined && !all.some((reading) => reading.name === name))
      all.push({ name, value });
  };
  if (!all.some(({ name }) => name.startsWith('gpu'))) add('gpu', smi?.clock ?? tegra?.gpu?.mhz[0]);
  add('gpu-memory', smi?.memoryClock);
  add('emc', tegra?.emc?.mhz);
  return all;
}

/** Rails, and `total` where they tell what goes in; `gpu-board` is what an add-in card draws. */
function powerOf(rails: readonly Reading[], card: number | null): Reading[] {
  const input = inputPower(rails);
  return [
    ...rails,
    ...(card === null || rails.length > 0 ? [] : [{ name: 'gpu-board', value: card }]),
    ...(input === null ? [] : [{ name: 'total', value: input.watts }]),
  ];
}

/** One line; the command never ends by itself, `head` ends it. null where there is none. */
function readTegrastats(probe: MachineProbe): Parsed<TegraSample> | null {
  if (probe.readText('/etc/nv_tegra_release') === null) return null;
  const text = probe.run('sh', ['-c', 'tegrastats --interval 100 | head -n 1']);
  if (text === null || text === '') return null;
  return parseTegrastatsLog(text)[0] ?? null;
}
