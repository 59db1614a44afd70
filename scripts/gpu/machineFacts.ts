/** What is on a machine that is about to be measured. Nothing that tells whose it is: no names of hosts, users or folders. */

import { statfsSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { type MachineProbe, readWord } from '../../lib/support/machineProbe.ts';

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(0)} GB`;

export function machineFacts(probe: MachineProbe): Record<string, string> {
  const smi = probe.run('nvidia-smi', [
    '--query-gpu=name,driver_version,compute_cap,memory.total,clocks.sm,clocks.mem,power.limit,persistence_mode',
    '--format=csv,noheader',
  ]);
  const said = (command: string, args: readonly string[], pattern: RegExp): string =>
    pattern.exec(probe.run(command, args) ?? '')?.[1]?.trim() ?? 'none';
  const disk = statfsSync(tmpdir());
  return {
    GPU: smi?.trim().split('\n').join('; ') ?? 'none that nvidia-smi shows',
    nvcc: said('nvcc', ['--version'], /release ([\d.]+)/),
    'compute-sanitizer': said('compute-sanitizer', ['--version'], /Version ([\d.]+)/),
    PyTorch: said('python3', ['-c', 'import torch; print(torch.__version__)'], /^(\S+)/),
    processor: /model name\s*:\s*(.*)/.exec(probe.readText('/proc/cpuinfo') ?? '')?.[1] ?? process.arch,
    cores: String(availableParallelism()),
    memory: gigabytes(totalmem()),
    'free disk': gigabytes(disk.bavail * disk.bsize),
    kernel: readWord(probe, '/proc/sys/kernel/osrelease') ?? 'unknown',
    Node: process.versions.node,
  };
}
