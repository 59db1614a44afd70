/**
 * What each CUDA kernel needs on each architecture, read from the compiler, against native/kernels/budgets.json:
 * registers, shared memory, and neither spills nor a stack frame. Needs no GPU.
 *
 *   node --import tsx scripts/kernelResources.ts                     every architecture that the project targets
 *   node --import tsx scripts/kernelResources.ts --arch sm_87,sm_120 these
 *   --nvcc PATH   a compiler of your own; else $NVCC, else the one that scripts/fetchNvcc.sh has fetched
 *   --cuda12      with CUDA 12.6's compiler, an Orin's on JetPack 6 (scripts/nvrtcKernels.py), for sm_87
 *   --budgets F   another file of budgets
 *   --json        one object on standard output instead of the table
 *
 * Exit codes: 0 within the budgets, 1 not, 2 bad option, 3 no compiler.
 */

import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

/** sm_75 Turing; 80 A100; 86 RTX 30; 87 Orin; 89 RTX 40; 90 H100, H200; 110 Thor; 120 RTX 50. */
export const targets = ['sm_75', 'sm_80', 'sm_86', 'sm_87', 'sm_89', 'sm_90', 'sm_110', 'sm_120'] as const;

/** A block's limit of shared memory without opting in to more. */
const sharedLimit = 48 * 1024;

interface Budget {
  readonly threads: number;
  readonly registers: number;
  readonly staticShared: number;
  readonly dynamicShared: number;
  readonly why: string;
}

export interface Usage {
  readonly kernel: string;
  /** Template arguments, e.g. `float, true`; empty without. */
  readonly variant: string;
  readonly arch: string;
  readonly registers: number;
  readonly staticShared: number;
  readonly stack: number;
  readonly spills: number;
}

const root = resolve(fileURLToPath(import.meta.url), '../..');
const kernelFolder = join(root, 'native/kernels');
const run = promisify(execFile);

/** Reads `-Xptxas -v`: a line that names the entry function, one with stack and spills, one with the rest. */
function parseUsage(log: string, arch: string): Usage[] {
  const entries = log.split(/Compiling entry function '/).slice(1);
  return entries.map((entry) => {
    const mangled = entry.slice(0, entry.indexOf("'"));
    const name = execFileSync('c++filt', [mangled], { encoding: 'utf8' }).trim();
    const [, kernel, variant] = name.match(/(\w+)(?:<([^(]*)>)?\(/) ?? [];
    const number = (pattern: RegExp): number => Number(entry.match(pattern)?.[1] ?? Number.NaN);
    const usage = {
      kernel: kernel ?? mangled,
      variant: variant ?? '',
      arch,
      registers: number(/Used (\d+) registers/),
      staticShared: /(\d+) bytes smem/.test(entry) ? number(/(\d+) bytes smem/) : 0,
      stack: number(/(\d+) bytes stack frame/),
      spills: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
    };
    if ([usage.registers, usage.stack, usage.spills].some(Number.isNaN)) {
      throw new Error(
        `Expected registers, stack and spills of ${name} for ${arch} in the compiler's log:\n${entry}`,
      );
    }
    return usage;
  });
}

async function compile(nvcc: string, file: string, arch: string, folder: string): Promise<Usage[]> {
  const flags = ['-std=c++17', `-arch=${arch}`, `-I${join(root, 'native')}`, '-Xptxas', '-v', '-cubin'];
  const warnings = ['-Werror', 'all-warnings', '-Wno-deprecated-gpu-targets'];
  const output = join(folder, `${file}.${arch}.cubin`);
  const args = [...flags, ...warnings, join(kernelFolder, file), '-o', output];
  const { stderr } = await run(nvcc, args).catch((error: { stderr?: string }) => {
    throw new Error(
      `Expected ${nvcc} to compile ${file} for ${arch} but it failed:\n${error.stderr ?? error}`,
    );
  });
  return parseUsage(stderr, arch);
}

/** Every way in which the kernels and the budgets disagree, in words. */
function faultsOf(usages: readonly Usage[], budgets: ReadonlyMap<string, Budget>): string[] {
  const faults: string[] = [];
  for (const usage of usages) {
    const where = `${usage.kernel}<${usage.variant}> on ${usage.arch}`;
    const budget = budgets.get(usage.kernel);
    if (budget === undefined) {
      faults.push(`${where}: expected a budget in native/kernels/budgets.json but there is none`);
      continue;
    }
    const limits = [
      ['registers', usage.registers, budget.registers],
      ['bytes of static shared memory', usage.staticShared, budget.staticShared],
      ['bytes of stack frame', usage.stack, 0],
      ['bytes of spills', usage.spills, 0],
    ] as const;
    for (const [what, found, limit] of limits) {
      if (found > limit) faults.push(`${where}: expected at most ${limit} ${what} but found ${found}`);
    }
  }
  const found = new Set(usages.map((usage) => usage.kernel));
  for (const [kernel, budget] of budgets) {
    if (!found.has(kernel)) faults.push(`${kernel}: has a budget but is not in the sources`);
    if (budget.staticShared + budget.dynamicShared > sharedLimit) {
      faults.push(`${kernel}: its budget of shared memory is above the ${sharedLimit} bytes of a block`);
    }
    if (budget.registers * budget.threads > 65536) {
      faults.push(`${kernel}: a block of its budget has more registers than a multiprocessor's 65536`);
    }
  }
  return faults;
}

/** One line per kernel and architecture: the most that any of its variants needs. */
function table(usages: readonly Usage[], budgets: ReadonlyMap<string, Budget>): string {
  const groups = new Map<string, Usage[]>();
  for (const usage of usages) {
    const key = `${usage.kernel} ${usage.arch}`;
    groups.set(key, [...(groups.get(key) ?? []), usage]);
  }
  const lines = [
    'kernel                 arch     variants  registers  budget  static B  dynamic B  spill B  blocks/SM by registers',
  ];
  for (const group of groups.values()) {
    const { kernel, arch } = group[0]!;
    const most = (of: (usage: Usage) => number): number => Math.max(...group.map(of));
    const registers = most((usage) => usage.registers);
    const budget = budgets.get(kernel);
    // Registers are allocated in units of 8 per thread, 256 per warp.
    const blocks = budget ? Math.floor(65536 / (Math.ceil(registers / 8) * 8 * budget.threads)) : Number.NaN;
    lines.push(
      [
        kernel.padEnd(22),
        arch.padEnd(8),
        String(group.length).padStart(8),
        String(registers).padStart(10),
        String(budget?.registers ?? '-').padStart(7),
        String(most((usage) => usage.staticShared)).padStart(9),
        String(budget?.dynamicShared ?? '-').padStart(10),
        String(most((usage) => usage.spills)).padStart(8),
        String(blocks).padStart(23),
      ].join(' '),
    );
  }
  return lines.join('\n');
}

function findNvcc(given: string | undefined): string {
  if (given !== undefined) return given;
  if (process.env.NVCC) return process.env.NVCC;
  return execFileSync(join(root, 'scripts/fetchNvcc.sh'), ['--check'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();
}

interface Compiled {
  readonly compiler: string;
  readonly architectures: readonly string[];
  readonly usages: readonly Usage[];
}

/** Compiles all kernels with nvcc, two at a time; the exit code if that fails. */
async function compileByNvcc(
  given: string | undefined,
  arch: string | undefined,
): Promise<Compiled | number> {
  let nvcc: string;
  try {
    nvcc = findNvcc(given);
  } catch {
    return 3;
  }
  const known = execFileSync(nvcc, ['--list-gpu-code'], { encoding: 'utf8' }).split(/\s+/);
  const architectures = arch?.split(',') ?? targets.filter((target) => known.includes(target));
  const unknown = architectures.filter((target) => !known.includes(target));
  if (unknown.length > 0) {
    console.error(`Expected architectures that ${nvcc} compiles for but received ${unknown.join(', ')}.`);
    return 2;
  }
  if (arch === undefined && architectures.length < targets.length) {
    const missing = targets.filter((target) => !known.includes(target));
    console.error(`This compiler does not know ${missing.join(', ')}: left out.`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-kernels-'));
  const usages: Usage[] = [];
  try {
    const queue = kernelFiles().flatMap((file) => architectures.map((target) => [file, target] as const));
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        usages.push(...(await compile(nvcc, next[0], next[1], folder)));
      }
    };
    await Promise.all([worker(), worker()]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { compiler: nvcc, architectures, usages };
}

/** The language level and the assembler of JetPack 6. */
async function compileByCuda12(): Promise<Compiled | number> {
  const files = kernelFiles().map((file) => join(kernelFolder, file));
  try {
    const args = [join(root, 'scripts/nvrtcKernels.py'), '--arch', 'sm_87', ...files];
    const { stdout } = await run('python3', args, { maxBuffer: 64 << 20 });
    return { compiler: 'NVRTC 12.6', architectures: ['sm_87'], usages: parseUsage(stdout, 'sm_87') };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout?: string; stderr?: string };
    console.error(`${stdout ?? ''}${stderr ?? String(error)}`);
    return code === 3 ? 3 : 1;
  }
}

function kernelFiles(): string[] {
  return readdirSync(kernelFolder)
    .filter((file) => file.endsWith('.cu'))
    .sort();
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string' },
      nvcc: { type: 'string' },
      cuda12: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      budgets: { type: 'string', default: join(kernelFolder, 'budgets.json') },
    },
  });
  const compiled = values.cuda12 ? await compileByCuda12() : await compileByNvcc(values.nvcc, values.arch);
  if (typeof compiled === 'number') return compiled;
  const { compiler, architectures } = compiled;
  const order = (arch: string): number => architectures.indexOf(arch);
  const usages = compiled.usages.toSorted(
    (a, b) => a.kernel.localeCompare(b.kernel) || order(a.arch) - order(b.arch),
  );
  const { kernels } = JSON.parse(readFileSync(values.budgets, 'utf8')) as { kernels: Record<string, Budget> };
  const budgets = new Map(Object.entries(kernels));

  const faults = faultsOf(usages, budgets);
  if (values.json) console.log(JSON.stringify({ compiler, architectures, usages, faults }, null, 1));
  else console.log(table(usages, budgets));
  for (const fault of faults) console.error(fault);
  console.error(
    faults.length === 0
      ? `${usages.length} kernel instances on ${architectures.length} architectures are within their budgets; no spills.`
      : `${faults.length} faults.`,
  );
  return faults.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
