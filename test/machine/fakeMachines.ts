/**
 * Machines to look at in tests. Names of files and the recorded text are real (recorded.ts); numbers in sysfs that nobody
 * published are made up and say so nowhere else than here.
 */

import type { MachineProbe } from '../../lib/support/machineProbe.ts';
import { orin, thor } from './recorded.ts';

export interface FakeMachine {
  /** Text by path; folders follow from it. */
  readonly files: Readonly<Record<string, string>>;
  /** Output by command and its arguments, or by the command alone. */
  readonly commands?: Readonly<Record<string, string>>;
  /** What nvidia-smi says of each field that its driver knows; absent: there is none. */
  readonly gpu?: Readonly<Record<string, string>>;
}

/** As nvidia-smi does it: one field that it does not know, and there is no answer. */
export function smiAnswer(gpu: Readonly<Record<string, string>>, args: readonly string[]): string | null {
  const cells = args[0]!
    .replace('--query-gpu=', '')
    .split(',')
    .map((field) => gpu[field]);
  return cells.every((cell) => cell !== undefined) ? `${cells.join(', ')}\n` : null;
}

export function probeOf({ files, commands = {}, gpu }: FakeMachine): MachineProbe {
  return {
    readText: (path) => files[path] ?? null,
    list: (path) => {
      const start = `${path}/`;
      const names = Object.keys(files)
        .filter((file) => file.startsWith(start))
        .map((file) => file.slice(start.length).split('/')[0]!);
      return [...new Set(names)];
    },
    run: (command, args) =>
      command === 'nvidia-smi' && gpu !== undefined
        ? smiAnswer(gpu, args)
        : (commands[[command, ...args].join(' ')] ?? commands[command] ?? null),
  };
}

const hwmon = '/sys/class/hwmon';
const thermal = '/sys/class/thermal';
const cpu = '/sys/devices/system/cpu';

function cores(count: number, min: number, max: number, now: number): Record<string, string> {
  const files: Record<string, string> = {};
  for (let i = 0; i < count; i++) {
    const dir = `${cpu}/cpu${i}/cpufreq`;
    files[`${dir}/scaling_governor`] = 'schedutil\n';
    files[`${dir}/scaling_min_freq`] = `${min}\n`;
    files[`${dir}/scaling_max_freq`] = `${max}\n`;
    files[`${dir}/scaling_cur_freq`] = `${now}\n`;
    // Orin does not write it for core 0
    if (i > 0) files[`${cpu}/cpu${i}/online`] = '1\n';
  }
  return files;
}

const stat = 'cpu  120000 0 30000 9000000 500 200 300 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n';

/** AGX Orin, JetPack 6.2.1, MAXN, clocks free. */
export const fakeOrin: FakeMachine = {
  files: {
    '/etc/nv_tegra_release': orin.release,
    '/etc/os-release': 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    '/proc/sys/kernel/osrelease': '5.15.148-tegra\n',
    '/proc/device-tree/model': 'NVIDIA Jetson AGX Orin Developer Kit\0',
    '/proc/device-tree/compatible': 'nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0',
    '/proc/cpuinfo': 'processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n',
    '/proc/loadavg': '0.60 0.50 0.40 1/500 1234\n',
    '/proc/meminfo': 'MemTotal: 64349184 kB\nMemAvailable: 45705216 kB\n',
    '/proc/stat': stat,
    ...cores(12, 729600, 2201600, 2188800),
    '/sys/class/devfreq/17000000.gpu/cur_freq': '306000000\n',
    '/sys/class/devfreq/17000000.gpu/min_freq': '306000000\n',
    '/sys/class/devfreq/17000000.gpu/max_freq': '1300500000\n',
    [`${hwmon}/hwmon0/name`]: 'pwmfan\n',
    [`${hwmon}/hwmon3/name`]: 'ina3221\n',
    [`${hwmon}/hwmon3/in1_label`]: 'VDD_GPU_SOC\n',
    [`${hwmon}/hwmon3/in1_input`]: '19880\n',
    [`${hwmon}/hwmon3/curr1_input`]: '121\n',
    [`${hwmon}/hwmon3/curr1_crit_alarm`]: '0\n',
    [`${hwmon}/hwmon3/in2_label`]: 'VDD_CPU_CV\n',
    [`${hwmon}/hwmon3/in2_input`]: '19880\n',
    [`${hwmon}/hwmon3/curr2_input`]: '80\n',
    [`${hwmon}/hwmon3/in3_label`]: 'VIN_SYS_5V0\n',
    [`${hwmon}/hwmon3/in3_input`]: '5000\n',
    [`${hwmon}/hwmon3/curr3_input`]: '940\n',
    [`${hwmon}/hwmon4/name`]: 'ina3221\n',
    [`${hwmon}/hwmon4/in1_label`]: 'NC\n',
    [`${hwmon}/hwmon4/in1_input`]: '8\n',
    [`${hwmon}/hwmon4/curr1_input`]: '0\n',
    [`${hwmon}/hwmon4/in2_label`]: 'VDDQ_VDD2_1V8AO\n',
    [`${hwmon}/hwmon4/in2_input`]: '5000\n',
    [`${hwmon}/hwmon4/curr2_input`]: '60\n',
    [`${hwmon}/hwmon5/name`]: 'soctherm_oc\n',
    [`${hwmon}/hwmon5/oc1_event_cnt`]: '0\n',
    [`${hwmon}/hwmon5/oc2_event_cnt`]: '15\n',
    [`${hwmon}/hwmon5/oc3_event_cnt`]: '37\n',
    [`${thermal}/thermal_zone0/type`]: 'cpu-thermal\n',
    [`${thermal}/thermal_zone0/temp`]: '52562\n',
    [`${thermal}/thermal_zone0/trip_point_0_type`]: 'critical\n',
    [`${thermal}/thermal_zone0/trip_point_0_temp`]: '104500\n',
    [`${thermal}/thermal_zone0/trip_point_1_type`]: 'passive\n',
    [`${thermal}/thermal_zone0/trip_point_1_temp`]: '99000\n',
    [`${thermal}/thermal_zone0/trip_point_2_type`]: 'active\n',
    [`${thermal}/thermal_zone0/trip_point_2_temp`]: '50000\n',
    [`${thermal}/thermal_zone1/type`]: 'gpu-thermal\n',
    // switched off: reading it fails
    [`${thermal}/thermal_zone2/type`]: 'tj-thermal\n',
    [`${thermal}/thermal_zone2/temp`]: '52562\n',
    [`${thermal}/cooling_device0/type`]: 'pwm-fan\n',
  },
  commands: { 'nvpmodel -q': 'NV Power Mode: MAXN\n0\n' },
};

/** AGX Thor, JetPack 7.0, MAXN, clocks held; jetson_clocks answers (root). */
export const fakeThor: FakeMachine = {
  files: {
    '/etc/nv_tegra_release': thor.release,
    '/etc/os-release': 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    '/proc/sys/kernel/osrelease': '6.8.12-tegra\n',
    '/proc/device-tree/model': 'NVIDIA Jetson AGX Thor Developer Kit\0',
    '/proc/device-tree/compatible': 'nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0',
    '/proc/cpuinfo': 'processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd83\n',
    '/proc/loadavg': '0.10 0.10 0.10 1/500 1234\n',
    '/proc/meminfo': 'MemTotal: 128790528 kB\nMemAvailable: 110000000 kB\n',
    '/proc/stat': stat,
    ...cores(14, 2601000, 2601000, 2601000),
    '/sys/class/devfreq/gpu-gpc-0/cur_freq': '1575000000\n',
    '/sys/class/devfreq/gpu-gpc-0/min_freq': '1575000000\n',
    '/sys/class/devfreq/gpu-gpc-0/max_freq': '1575000000\n',
    '/sys/class/devfreq/gpu-nvd-0/cur_freq': '1692000000\n',
    '/sys/class/devfreq/gpu-nvd-0/min_freq': '1692000000\n',
    '/sys/class/devfreq/gpu-nvd-0/max_freq': '1692000000\n',
    '/sys/class/devfreq/bwmgr/cur_freq': '4266000000\n',
    '/sys/class/devfreq/bwmgr/min_freq': '665600000\n',
    '/sys/class/devfreq/bwmgr/max_freq': '4266000000\n',
    [`${hwmon}/hwmon3/name`]: 'ina3221\n',
    [`${hwmon}/hwmon3/in1_label`]: 'VDD_GPU\n',
    [`${hwmon}/hwmon3/in1_input`]: '19864\n',
    [`${hwmon}/hwmon3/curr1_input`]: '1889\n',
    [`${hwmon}/hwmon3/in2_label`]: 'VDD_CPU_SOC_MSS\n',
    [`${hwmon}/hwmon3/in2_input`]: '19856\n',
    [`${hwmon}/hwmon3/curr2_input`]: '955\n',
    [`${hwmon}/hwmon3/in3_label`]: 'VIN_SYS_5V0\n',
    [`${hwmon}/hwmon3/in3_input`]: '5000\n',
    [`${hwmon}/hwmon3/curr3_input`]: '3666\n',
    [`${hwmon}/hwmon3/in7_label`]: 'sum of shunt voltages\n',
    [`${hwmon}/hwmon3/in7_input`]: '680\n',
    [`${hwmon}/hwmon4/name`]: 'ina238\n',
    [`${hwmon}/hwmon4/label`]: 'VIN\n',
    [`${hwmon}/hwmon4/power1_input`]: '87426000\n',
    [`${thermal}/thermal_zone0/type`]: 'gpu-thermal\n',
    [`${thermal}/thermal_zone0/temp`]: '62906\n',
    [`${thermal}/thermal_zone1/type`]: 'soc012-thermal\n',
    [`${thermal}/thermal_zone1/temp`]: '58468\n',
  },
  commands: {
    'nvpmodel -q': thor.nvpmodel,
    'jetson_clocks --show': thor.jetsonClocks,
  },
  gpu: {
    ...{ name: 'NVIDIA Thor', driver_version: '580.00', compute_cap: '11.0', 'memory.total': '[N/A]' },
    ...{ 'clocks.current.graphics': '1575', 'clocks.current.memory': '[N/A]', 'temperature.gpu': '62' },
    ...{ 'utilization.gpu': '[N/A]', 'utilization.memory': '[N/A]' },
    ...{ 'power.draw.instant': '[N/A]', 'power.draw': '[N/A]' },
    'clocks_event_reasons.active': '0x0000000000000000',
    'clocks_throttle_reasons.active': '0x0000000000000000',
  },
};

/** A desktop with a card and a driver that knows only the old name of the reasons. */
export const fakeDesktop: FakeMachine = {
  files: {
    '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    '/proc/sys/kernel/osrelease': '6.1.0-30-amd64\n',
    '/sys/class/dmi/id/sys_vendor': 'LENOVO\n',
    '/sys/class/dmi/id/product_name': 'ThinkStation P3\n',
    '/proc/cpuinfo':
      'processor\t: 0\nmodel name\t: 13th Gen Intel(R) Core(TM) i9-13900K\nflags\t\t: fpu avx2 fma\n',
    '/proc/loadavg': '3.20 1.00 0.50 2/900 4321\n',
    '/proc/meminfo': 'MemTotal: 65536000 kB\nMemAvailable: 50000000 kB\n',
    '/proc/stat': stat,
    ...Object.fromEntries(
      Object.entries(cores(4, 800000, 5500000, 3000000)).map(([path, text]) => [
        path,
        path.endsWith('scaling_governor') ? 'powersave\n' : text,
      ]),
    ),
    [`${cpu}/cpu0/thermal_throttle/core_throttle_count`]: '7\n',
    [`${cpu}/cpu1/thermal_throttle/core_throttle_count`]: '9\n',
  },
  gpu: {
    ...{ name: 'NVIDIA GeForce RTX 4090', driver_version: '525.147.05', compute_cap: '8.9' },
    ...{ 'memory.total': '24564', 'clocks.current.graphics': '2520', 'clocks.current.memory': '10251' },
    ...{ 'temperature.gpu': '71', 'utilization.gpu': '97', 'utilization.memory': '43' },
    ...{ 'power.draw': '412.50', 'clocks_throttle_reasons.active': '0x0000000000000024' },
  },
};

/** A container that shows nothing. */
export const fakeNothing: FakeMachine = { files: {} };
