/** The machine at one moment: what it is, and its temperatures, clocks, load and throttling. Nothing here throws or guesses. */

import { readCpuModel } from '../../support/cpuModel.ts';
import { type MachineProbe, machineProbe as thisMachine } from '../../support/machineProbe.ts';
import type { MachineSnapshot, MachineState, Reading } from '../types.ts';
import { countCores, readBoard, readOnBattery, readOs, readTegraGpu, readVirtual } from './board.ts';
import { areClocksHeld, readClockRanges, readClocks, readGovernor, readLoads } from './clocks.ts';
import { readCounters } from './counters.ts';
import { parseJetsonClocks } from './jetsonClocks.ts';
import { type GpuMoment, gpuFacts, gpuMoment, readGpuCells } from './nvidiaSmi.ts';
import { parseNvpmodel } from './nvpmodel.ts';
import { type Parsed, UnreadText } from './parsed.ts';
import { inputPower, readPowerRails } from './powerRails.ts';
import { parseTegraRelease, releaseName } from './tegraRelease.ts';
import { parseTegrastatsLog, type TegraSample } from './tegrastats.ts';
import { readTemperatureLimits, readTemperatures } from './thermalZones.ts';

export interface ReadMachineOptions {
  /** For tests: another machine to read. */
  readonly probe?: MachineProbe;
}

/** Leaves `end`, `energy` and `sampling` null for finishMachine.ts to fill in. May take some seconds if tools are slow. */
export function readMachine({ probe = thisMachine }: ReadMachineOptions = {}): MachineState {
  const unread = new UnreadText();
  const smi = unread.valueIn(readGpuCells(probe));
  const releaseText = probe.readText('/etc/nv_tegra_release');
  const release = unread.valueIn(parse(releaseText, parseTegraRelease));
  // both exist only on a Jetson; asking elsewhere would just cost time
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
    gpu:
      smi === null
        ? tegra && { ...tegra, driver: null, memoryBytes: null }
        : withCapability(gpuFacts(smi), tegra),
    jetpack: release === null ? releaseText && 'L4T unknown' : releaseName(release),
    powerMode: mode ?? shown?.powerMode ?? null,
    clocksLocked: shown?.locked ?? areClocksHeld(ranges),
    clockRanges: [...ranges, ...missing],
    temperatureLimits: readTemperatureLimits(probe),
    virtual: readVirtual(probe),
    onBattery: readOnBattery(probe),
    os: readOs(probe),
    start: snapshot(probe, smi && gpuMoment(smi), undefined, unread),
    end: null,
    energy: null,
    sampling: null,
  };
}

type Gpu = NonNullable<MachineState['gpu']>;

function withCapability(gpu: Gpu, tegra: ReturnType<typeof readTegraGpu>): Gpu {
  return { ...gpu, computeCapability: gpu.computeCapability ?? tegra?.computeCapability ?? null };
}

function parse<T>(text: string | null, parser: (text: string) => T): T | null {
  return text === null ? null : parser(text);
}

/** The machine now. `nvidia-smi` (tens of milliseconds) is asked only if sysfs shows no GPU clock. */
export function readSnapshot(probe: MachineProbe): MachineSnapshot {
  const clocks = readClocks(probe);
  const unread = new UnreadText();
  const smi = hasGpuClock(clocks) ? null : unread.valueIn(readGpuCells(probe));
  return snapshot(probe, smi && gpuMoment(smi), clocks, unread);
}

export const hasGpuClock = (clocks: readonly Reading[]): boolean =>
  clocks.some(({ name }) => name.startsWith('gpu'));

function snapshot(
  probe: MachineProbe,
  smi: GpuMoment | null,
  clocks: readonly Reading[] | undefined,
  unread: UnreadText,
): MachineSnapshot {
  // a container may have the command but not the sensors
  const tegra = hidesSensors(probe) ? unread.valueIn(readTegrastats(probe)) : null;
  return momentOf(probe, smi, tegra, unread, clocks);
}

/** Whether sysfs has neither rails nor temperatures, so that `tegrastats`, if present, is the only source. */
export function hidesSensors(probe: MachineProbe): boolean {
  return readPowerRails(probe) === null && readTemperatures(probe).length === 0;
}

/** Readings from sysfs, completed by those from nvidia-smi and tegrastats. */
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
    temperatures: withMore(temperatures.length > 0 ? temperatures : (tegra?.temperatures ?? []), [
      ['gpu', smi?.temperature],
    ]),
    clocks: withMore(clocks, [
      ...(hasGpuClock(clocks) ? [] : [['gpu', smi?.clock ?? tegra?.gpu?.mhz[0]] as const]),
      ['gpu-memory', smi?.memoryClock],
      ['emc', tegra?.emc?.mhz],
    ]),
    power: powerOf(rails?.rails ?? tegra?.power ?? [], smi?.watts ?? null),
    throttling: [...(rails?.alarms ?? []), ...(smi?.reasons ?? [])],
    load: load === undefined || !/^\d+\.\d+$/.test(load) ? null : Number(load) / countCores(probe),
    loads: withMore(
      [...readLoads(probe), ...(smi?.loads ?? [])],
      [
        ['gpu', tegra?.gpu?.percent],
        ['emc', tegra?.emc?.percent],
      ],
    ),
    memoryFreeBytes: available === undefined ? null : Number(available) * 1024,
    counters: readCounters(probe),
    ...(unread.texts.length === 0 ? {} : { unread: unread.texts }),
  };
}

/** Adds further readings whose names are not taken. */
function withMore(
  readings: readonly Reading[],
  more: readonly (readonly [name: string, value: number | null | undefined])[],
): Reading[] {
  const all = [...readings];
  for (const [name, value] of more) {
    if (value !== null && value !== undefined && !all.some((reading) => reading.name === name))
      all.push({ name, value });
  }
  return all;
}

/** The rails, and `total` if they show what goes in; `gpu-board` is what an add-in card draws. */
function powerOf(rails: readonly Reading[], card: number | null): Reading[] {
  const input = inputPower(rails);
  return [
    ...rails,
    ...(card === null || rails.length > 0 ? [] : [{ name: 'gpu-board', value: card }]),
    ...(input === null ? [] : [{ name: 'total', value: input.watts }]),
  ];
}

/** Reads one line; `head` ends the command, which never ends by itself. null if there is none. */
function readTegrastats(probe: MachineProbe): Parsed<TegraSample> | null {
  if (probe.readText('/etc/nv_tegra_release') === null) return null;
  const text = probe.run('sh', ['-c', 'tegrastats --interval 100 | head -n 1']);
  if (text === null || text === '') return null;
  return parseTegrastatsLog(text)[0] ?? null;
}
