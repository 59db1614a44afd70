/**
 * The tools of training/, where their environments are: the batched twin against the one in bench/reference, and the whole
 * way of a tiny task (`SEMANTICVLA_LONG_TESTS=1`: about a minute on an idle machine): collected, trained, killed, stopped,
 * gone on with, exported with adapters, opened by the program and judged in closed loop.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requireBuild, root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('training');

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'semanticvla');
const torch = join(cache, 'bench-venv/bin/python');
const simulator = join(cache, 'simulator-venv/bin/python');
const task = join(root, 'test/training/tiny.json');
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };

const script = (name: string) => join(root, 'training', name);

/** Runs a script of training/ to its end; its standard output. */
function run(python: string, name: string, ...args: string[]): string {
  const options = { encoding: 'utf8', timeout: 600_000, env } as const;
  const { status, stdout, stderr } = spawnSync(python, [script(name), ...args], options);
  assert.is(status, 0, `${name} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Starts `train.py`, ends it by `signal` once it has printed that step; its exit code, null where a signal ended it. */
async function trainUntil(step: number, signal: NodeJS.Signals, args: string[]): Promise<number | null> {
  const child = spawn(torch, [script('train.py'), ...args], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  let sent = false;
  child.stdout.on('data', (text: Buffer) => {
    said += text;
    if (!sent && said.includes(`\nstep ${step} {`)) sent = child.kill(signal);
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  assert.ok(sent, `it ended before step ${step}:\n${said}`);
  return code;
}

const missing = [torch, simulator].filter((python) => !existsSync(python));
const howTo = `${missing.join(', ')} not there (bench/reference/setup.sh, training/setup.sh)`;

testWhen(
  existsSync(torch) && isLong,
  existsSync(torch) ? 'it takes ten seconds; SEMANTICVLA_LONG_TESTS=1 runs it' : howTo,
  test,
  'the twin is bench/reference, and adapters merge to what was trained',
  () => {
    const found = JSON.parse(run(torch, 'checkTwin.py', mkdtempSync(join(scratchFolder(), 'twin-'))));
    assert.is(found.observations, 5);
    assert.is(found.patches, true);
    // As for the goldens: float32 sums in another order, batched instead of one by one.
    assert.ok(found.actions < 5e-5, `actions differ by ${found.actions}`);
    // Base, product, multiple and sum are rounded to bfloat16, each by at most half a step of numbers up to twice as large.
    assert.ok(found.merged <= 4, `a merged weight is ${found.merged} steps off`);
    assert.is(found.mergedTensors, 24, 'four layers in each of three blocks of two towers have an adapter');
    assert.is(found.onlyAdapted, true);
  },
);

testWhen(
  existsSync(torch) && isLong,
  existsSync(torch) ? 'it takes some seconds; SEMANTICVLA_LONG_TESTS=1 runs it' : howTo,
  test,
  "a step of Muon goes along the gradient's singular vectors, all by about the same",
  () => {
    const found = JSON.parse(run(torch, 'checkOptimizers.py'));
    // Where the quintic takes singular values of 1 to 0.1 of a matrix's norm in five iterations.
    assert.ok(found.least > 0.6 && found.largest < 1.3, `singular values ${found.least} to ${found.largest}`);
    assert.ok(found.cosine > 0.97, `cosine with the nearest matrix of orthonormal rows: ${found.cosine}`);
    assert.ok(found.step < 1e-6, `one step differs by ${found.step} from rate, decay and scale by hand`);
    assert.ok(found.tall < 1e-6, `a tall matrix differs from its transpose by ${found.tall}`);
  },
);

testWhen(
  missing.length === 0 && isLong,
  missing.length === 0 ? 'it takes a minute; SEMANTICVLA_LONG_TESTS=1 runs it' : howTo,
  test,
  'a tiny task from its first episode to the closed loop, killed and stopped on the way',
  async () => {
    requireBuild();
    const scratch = mkdtempSync(join(scratchFolder(), 'training-'));
    const at = (...names: string[]) => join(scratch, ...names);
    run(simulator, 'collect.py', at('data'), '--task', task, '--count', '3', '--processes', '1');
    const collected = readdirSync(at('data'));
    assert.equal(collected, ['00000000.safetensors', '00000001.safetensors', '00000002.safetensors']);
    assert.match(run(simulator, 'collect.py', at('data'), '--task', task, '--count', '3'), /3 there/);

    const fresh = ['--task', task, '--data', at('data'), '--validation', at('data'), '--steps', '10'];
    const often = ['--log-every', '1', '--validate-every', '5'];
    run(torch, 'train.py', at('whole'), ...fresh, ...often);
    assert.is(await trainUntil(3, 'SIGKILL', [at('broken'), ...fresh, ...often, '--save-every', '0']), null);
    assert.is(await trainUntil(6, 'SIGINT', [at('broken'), ...often]), 130);
    run(torch, 'train.py', at('broken'), ...often);
    const compare =
      'import sys, torch; a, b = (torch.load(one, weights_only=True) for one in sys.argv[1:]);' +
      'assert a["step"] == b["step"] == 10; assert all(torch.equal(a["weights"][n], b["weights"][n]) for n in a["weights"]);' +
      'print(len(a["weights"]))';
    const states = [at('whole', 'state.pt'), at('broken', 'state.pt')];
    const compared = spawnSync(torch, ['-c', compare, ...states], { encoding: 'utf8', env });
    assert.is(compared.status, 0, compared.stderr);
    assert.ok(Number(compared.stdout) > 100, 'tensors that were compared');
    const steps = readFileSync(at('broken', 'log.jsonl'), 'utf8').trimEnd().split('\n');
    assert.equal(
      steps.map((line) => JSON.parse(line).step),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      'each step is in the log once',
    );

    run(
      torch,
      'train.py',
      at('more'),
      '--task',
      task,
      '--data',
      at('data'),
      '--steps',
      '4',
      '--init',
      at('broken'),
    );
    run(torch, 'export.py', at('more'), at('checkpoint'), '--adapter-from', at('broken'));
    const judge = ['--task', task, '--family', 'colour', '--count', '1'];
    const served = JSON.parse(
      run(simulator, 'evaluate.py', at('a.jsonl'), ...judge, '--program', at('checkpoint')),
    );
    assert.is(served.of, 1);
    const again = JSON.parse(
      run(simulator, 'evaluate.py', at('a.jsonl'), ...judge, '--program', at('checkpoint')),
    );
    assert.equal(again, served, 'an episode that is there is not run again');
    const twin = JSON.parse(
      run(simulator, 'evaluate.py', at('b.jsonl'), ...judge, '--twin', at('checkpoint')),
    );
    const { program: _, ...ours } = served;
    const { twin: __, ...theirs } = twin;
    assert.equal(theirs, ours, 'the program and PyTorch end alike');
  },
);

test.run();
