import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { callbackFailed, isolated } from '../../lib/support/isolated.ts';

const test = suite('isolated callbacks');

interface CodedWarning extends Error {
  readonly code?: string;
  readonly detail?: string;
}

/** Warnings about callbacks while `work` runs. */
async function warningsOf(work: () => unknown): Promise<readonly CodedWarning[]> {
  const seen: CodedWarning[] = [];
  const hear = (warning: CodedWarning): void => {
    if (warning.code === callbackFailed) seen.push(warning);
  };
  process.on('warning', hear);
  try {
    await work();
    // a warning comes a turn later, one of a rejected promise two
    for (let i = 0; i < 4; i++) await new Promise(setImmediate);
  } finally {
    process.off('warning', hear);
  }
  return seen;
}

const failures: Readonly<Record<string, () => unknown>> = {
  'an error': () => {
    throw new Error('mine');
  },
  'no error': () => {
    throw null;
  },
  'a text': () => {
    throw 'mine';
  },
  'what cannot be shown': () => {
    throw Object.create(null);
  },
  'an error whose message is none': () => {
    throw Object.assign(new Error('x'), { message: Symbol('mine'), stack: 5 });
  },
  'a getter that throws': () => {
    throw Object.defineProperty(new Error('x'), 'message', {
      get() {
        throw new Error('again');
      },
    });
  },
  'a promise that rejects': async () => {
    throw new Error('mine');
  },
  'what says it is a promise and rejects': () => ({
    // biome-ignore lint/suspicious/noThenProperty: what a callback may return
    then: (_: unknown, reject: (error: unknown) => void) => reject(new Error('mine')),
  }),
  'what says it is a promise and throws': () => ({
    // biome-ignore lint/suspicious/noThenProperty: what a callback may return
    get then() {
      throw new Error('mine');
    },
  }),
};

test('whatever a callback throws or rejects with: the work goes on, and it is said once', async () => {
  for (const [name, failing] of Object.entries(failures)) {
    let calls = 0;
    const call = isolated('onEvent of a test', (n: number) => {
      calls += n;
      return failing();
    });
    const warnings = await warningsOf(() => {
      for (let i = 0; i < 3; i++) assert.is(call(1), undefined, name);
    });
    assert.is(calls, 3, `${name}: called again all the same`);
    assert.is(warnings.length, 1, name);
    assert.match(warnings[0]!.message, /^onEvent of a test failed: /, name);
  }
});

test('the warning carries the place of the failure', async () => {
  const call = isolated('x', failures['an error']!);
  const [warning] = await warningsOf(() => call());
  assert.match(warning!.detail!, /isolated\.test/);
});

test('what a callback returns or never settles is nobody’s business', async () => {
  const returned: readonly unknown[] = [true, 5, 'text', {}, null, Promise.resolve(), new Promise(() => {})];
  const warnings = await warningsOf(() => {
    for (const value of returned) isolated('x', () => value)();
  });
  assert.equal(warnings, []);
});

test('no callback is fine; what is none is refused at once', () => {
  isolated('onEvent of a test', undefined)();
  for (const wrong of [null, 5, 'log', {}, []]) {
    assert.throws(
      () => isolated('onEvent of a test', wrong as unknown as () => void),
      (error: { code?: string }) => error.code === 'OPTION_INVALID' && /onEvent of a test/.test(`${error}`),
    );
  }
});

/** Deliberately called without isolation: from one of our files to another, never from a user. */
const own: readonly string[] = [
  // a notice log, which isolates
  'checkpoint/int8Weights.ts onNotice',
  'checkpoint/loraMerge.ts onNotice',
  'client/openpiTransport.ts onLost',
  'engine/cachedEngines.ts onWait',
  'engine/compiledKernels.ts onNotice',
  'engine/engineCache.ts onWait',
  'engine/engineLock.ts onWait',
  'engine/openTensorRt.ts onNotice',
  'engine/timings.ts onNotice',
  'hub/pullFiles.ts onBytes',
  'policy/cpuModels.ts onNotice',
  'runtime/tensorRt.ts onLayers',
  'synth/fileSink.ts onBytes',
];

test('no file of the library calls a callback that is not isolated', () => {
  const lib = fileURLToPath(new URL('../../lib', import.meta.url));
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('cli/'),
  );
  const bare = files.flatMap((file) =>
    [...readFileSync(join(lib, file), 'utf8').matchAll(/\b(?:on[A-Z]\w*|listener|callback)\?\.\(/g)].map(
      ([call]) => `${file} ${call.slice(0, -3)}`,
    ),
  );
  assert.ok(files.length > 200);
  assert.equal(
    [...new Set(bare)].sort().filter((call) => !own.includes(call)),
    [],
  );
});

test.run();
