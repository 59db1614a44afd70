/** Checkpoints by name: fetched, resumed, checked and opened, against a hub on loopback; and Python's reader of the same cache. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkpointOfHub, pullCheckpoint } from '../../lib/checkpoint/hubCheckpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { inWords, parseHubName } from '../../lib/hub/hubName.ts';
import { hubSettings } from '../../lib/hub/hubSettings.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { root } from '../helpers/cli.ts';
import { goldenCheckpoint, goldenCopy, scratchFolder } from '../helpers/golden.ts';
import { type Python, pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';
import { type Files, filesOf, Hub } from './imitation.ts';

const test = suite('checkpoints by name');

const repo = 'someone/libero-tiny';
const name = `hf:${repo}`;
// a text encoder's weights lie in the vision backbone's archive; the folder has its own beside the tokenizer
const textWeights = 'siglip-text/model.safetensors';
const drawn = (length: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * seed) >> 3));
const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
/** The files of a policy by name and number; what is in them does not matter before it is opened. */
const own: Files = {
  'config.json': Buffer.from('{"model_type": "openvla"}'.padEnd(200)),
  'dataset_statistics.json': Buffer.from('{"libero": {}}'),
  'preprocessor_config.json': Buffer.from('{}'),
  'tokenizer.model': drawn(50_000, 3),
  'model.safetensors.index.json': Buffer.from(JSON.stringify({ weight_map: { a: shards[0], b: shards[1] } })),
  [shards[0]]: drawn(400_000, 5),
  [shards[1]]: drawn(300_000, 7),
  'action_head--30000_checkpoint.pt': drawn(90_000, 11),
  'siglip-text/config.json': Buffer.from('{}'),
  'siglip-text/spiece.model': drawn(20_000, 13),
  'lora_adapter/adapter_config.json': Buffer.from('{ }'),
};
/** What a policy does not need, as real repositories have it. */
const ballast: Files = {
  [textWeights]: drawn(3000, 17),
  'README.md': Buffer.from('# a policy'),
  '.gitattributes': Buffer.from('*.pt filter=lfs'),
  'optimizer.pt': Buffer.alloc(5000, 1),
  'trainer_state.json': Buffer.from('{}'),
  'images/arm.png': Buffer.alloc(3000, 2),
  'modeling.py': Buffer.from('raise SystemExit'),
  'runs/old/config.json': Buffer.from('{}'),
  'model-extra.safetensors': Buffer.alloc(3000, 3),
};
const size = Object.values(own).reduce((sum, { length }) => sum + length, 0);
/** Two of them are the same bytes, which are fetched once. */
const unique = size - own['siglip-text/config.json']!.length;

let hub: Hub;
let cache: string;
const saved = { ...process.env };

test.before.each(async () => {
  hub = await new Hub().start();
  cache = mkdtempSync(join(scratchFolder(), 'hub-'));
  for (const key of Object.keys(process.env)) if (/^(HF_|HUGGINGFACE_)/.test(key)) delete process.env[key];
  Object.assign(process.env, { HF_ENDPOINT: hub.url, HF_HOME: cache });
});
test.after.each(async () => {
  await hub.close();
  rmSync(cache, { recursive: true, force: true });
  for (const key of Object.keys(process.env)) if (!(key in saved)) delete process.env[key];
  Object.assign(process.env, saved);
});

async function refused(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof SemanticVlaError)) throw error;
    return `${error.code} ${error.message}`;
  }
  return 'nothing was refused';
}

const place = () => join(cache, 'hub', 'models--someone--libero-tiny');
const blobs = (): string[] => (existsSync(join(place(), 'blobs')) ? readdirSync(join(place(), 'blobs')) : []);
const sentFor = (path: RegExp): number =>
  hub.asked.filter((asked) => path.test(asked.path)).reduce((sum, { sent }) => sum + sent, 0);

test('a name is owner/name with an optional revision, and nothing else', () => {
  assert.equal(parseHubName('hf:a/b'), { repo: 'a/b', revision: 'main' });
  assert.equal(parseHubName('hf:openvla/openvla-7b.x_1@refs/pr/3'), {
    repo: 'openvla/openvla-7b.x_1',
    revision: 'refs/pr/3',
  });
  const wrong = [
    'hf:',
    'hf:a',
    'hf:a/',
    'hf:/b',
    'hf:a/b/c',
    'hf:../b',
    'hf:a/..',
    'hf:a/b@',
    'hf:a/b@../x',
    'hf:a b/c',
  ].concat([
    'hf:a/b.git',
    'hf:a/b@x y',
    'hf:a/b@-x',
    'hf:a/b@x..y',
    'hf:a/b@/x',
    'hf:a/-b',
    'hf:a/b--c',
    'hf:a\0/b',
    'hf:a/b@x\n',
  ]);
  for (const each of wrong) assert.throws(() => parseHubName(each), /OPTION_INVALID|Expected the name/, each);
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const parsed = parseHubName(`hf:${text}`);
        return (
          inWords(parsed).startsWith(`hf:${parsed.repo}`) &&
          !/\.\.|\0|\\|^\//.test(parsed.repo + parsed.revision)
        );
      } catch (error) {
        return (error as SemanticVlaError).code === 'OPTION_INVALID';
      }
    }),
  );
});

test("the variables are Python's", async () => {
  const settings = await hubSettings({
    HF_HOME: '/h',
    HF_TOKEN: ' t ',
    HF_ENDPOINT: 'http://x/',
    HF_HUB_OFFLINE: 'YES',
  });
  assert.equal(settings, { endpoint: 'http://x', cache: '/h/hub', token: 't', isOffline: true });
  assert.is((await hubSettings({ HF_HUB_CACHE: '/c', HF_HOME: '/h' })).cache, '/c');
  assert.is((await hubSettings({ XDG_CACHE_HOME: '/x' })).cache, '/x/huggingface/hub');
  assert.match(await refused(hubSettings({ HF_ENDPOINT: 'ftp://x' })), /^OPTION_INVALID HF_ENDPOINT/);
});

test("only what a policy needs is fetched, into the hub's layout; the second time nothing is", async () => {
  const commit = hub.commit(repo, { ...own, ...ballast }, 'main');
  const steps: number[] = [];
  const report = await pullCheckpoint(name, { onProgress: ({ done, total }) => steps.push(done / total) });
  const folder = join(place(), 'snapshots', commit);
  assert.equal(report, {
    name,
    folder,
    commit,
    files: Object.keys(own).length,
    bytes: size,
    fetched: unique,
  });
  assert.is(steps.at(-1), 1);
  assert.equal(filesOfLinks(folder), Object.keys(own).sort());
  for (const [path, bytes] of Object.entries(own)) {
    const file = join(folder, path);
    assert.ok(lstatSync(file).isSymbolicLink());
    const up = '../'.repeat(path.split('/').length + 1);
    assert.is(readlinkSync(file), `${up}blobs/${Hub.sumOf(path, bytes).hex}`);
    assert.ok(readFileSync(file).equals(bytes), path);
  }
  assert.is(readFileSync(join(place(), 'refs/main'), 'utf8'), commit);
  const again = await pullCheckpoint(name);
  assert.is(again.fetched, 0);
  assert.equal(
    Object.keys(ballast).filter((path) => sentFor(new RegExp(`${path}$`)) > 0),
    [],
  );
  assert.is(sentFor(/resolve/), unique, 'each byte once');
});

function filesOfLinks(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

test('a checkpoint is opened by its name, and needs no hub afterwards', async () => {
  hub.commit(repo, filesOf(goldenCopy('libero-tiny')), 'main', 'v1');
  const byFolder = await openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir: cache });
  const byName = await openCheckpoint(name, { cacheDir: cache });
  assert.equal(
    [byName.config.variant, byName.tensors.size],
    [byFolder.config.variant, byFolder.tensors.size],
  );
  const asked = hub.asked.length;
  await openCheckpoint(name, { cacheDir: cache });
  assert.is(hub.asked.length, asked, 'nothing is asked of what is there');
  // weights behind links run where they lie
  for (const weights of ['folded', 'mapped'] as const) {
    const policy = await loadPolicy(name, {
      platform: 'libero',
      unnormKey: 'libero_spatial_no_noops',
      weights,
      cacheDir: cache,
    });
    await policy.close();
  }
  process.env.HF_HUB_OFFLINE = '1';
  await openCheckpoint(name, { cacheDir: cache });
  assert.is((await pullCheckpoint(name)).fetched, 0);
  assert.match(
    await refused(openCheckpoint('hf:someone/other', { cacheDir: cache })),
    /^REMOTE_UNREACHABLE .*HF_HUB_OFFLINE.*no such revision.*semanticvla pull hf:someone\/other/,
  );
  assert.is(hub.asked.length, asked);
});

test('a connection that is cut again and again delivers the whole, each byte once', async () => {
  hub.commit(repo, own, 'main');
  hub.faults = { cutAfter: [1000, 7000, 1, 20_000] };
  const report = await pullCheckpoint(name);
  assert.is(report.fetched, unique);
  for (const [path, bytes] of Object.entries(own))
    assert.ok(readFileSync(join(report.folder, path)).equals(bytes), path);
  assert.ok(hub.asked.some(({ range }) => range !== undefined));
  assert.is(sentFor(/resolve/), unique, 'nothing is sent twice');
  assert.equal(
    blobs().filter((blob) => blob.includes('incomplete')),
    [],
  );
});

test('a server without ranges is read from the beginning', async () => {
  hub.commit(repo, own, 'main');
  hub.faults = { cutAfter: [7000, 7000], ignoresRanges: true };
  const { folder } = await pullCheckpoint(name);
  for (const [path, bytes] of Object.entries(own))
    assert.ok(readFileSync(join(folder, path)).equals(bytes), path);
});

test('killed in the middle, it goes on from there', async () => {
  hub.commit(repo, own, 'main');
  hub.faults = { slow: 100 };
  const child = spawn(process.execPath, [join(root, 'bin/semanticvla.js'), 'pull', name], {
    env: process.env,
    stdio: 'ignore',
  });
  for (let i = 0; i < 500 && sentFor(/resolve/) < 250_000; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(blobs().some((blob) => blob.endsWith('.semanticvla.incomplete')));
  assert.not.ok(existsSync(join(place(), 'refs/main')), 'not said to be there');
  hub.faults = {};
  const before = hub.asked.length;
  const report = await pullCheckpoint(name);
  for (const [path, bytes] of Object.entries(own))
    assert.ok(readFileSync(join(report.folder, path)).equals(bytes), path);
  const sent = hub.asked.slice(before).reduce((sum, one) => sum + one.sent, 0);
  assert.ok(sent <= size - 150_000, `${sent} of ${size}`);
  assert.is(report.fetched, sent);
});

test('an abort ends it at once, and what came is kept', async () => {
  hub.commit(repo, own, 'main');
  hub.faults = { slow: 200 };
  const stop = new AbortController();
  const why = new Error('enough');
  const onProgress = ({ done }: { done: number }): void => void (done > 50_000 && stop.abort(why));
  try {
    await pullCheckpoint(name, { signal: stop.signal, onProgress });
    assert.unreachable();
  } catch (error) {
    assert.is(error, why);
  }
  assert.ok(blobs().some((blob) => blob.endsWith('incomplete')));
});

test('bytes without their check sum are not kept', async () => {
  hub.commit(repo, own, 'main');
  const spoilt = (bytes: Buffer): Buffer => Buffer.from(bytes).fill(7, 100, 101);
  const cases: [RegExp, (bytes: Buffer) => Buffer, RegExp][] = [
    [
      /safetensors$/,
      spoilt,
      /^CHECKPOINT_CHANGED hf:someone\/libero-tiny: model-0000.*SHA-256 sum [0-9a-f]{64}/,
    ],
    [/^config\.json$/, spoilt, /^CHECKPOINT_CHANGED hf:someone\/libero-tiny: config.*git sum [0-9a-f]{40}/],
    [/safetensors$/, (bytes) => Buffer.concat([bytes, bytes]), /^CHECKPOINT_CHANGED .*found more than/],
  ];
  for (const [kind, change, message] of cases) {
    rmSync(place(), { recursive: true, force: true });
    hub.faults = { damage: (path, bytes) => (kind.test(path) ? change(bytes) : bytes) };
    assert.match(await refused(pullCheckpoint(name)), message);
    assert.not.ok(existsSync(join(place(), 'refs/main')), 'not said to be there');
  }
  hub.faults = {};
  assert.is((await pullCheckpoint(name)).bytes, size);
});

test('a part that was damaged on the disk is fetched anew', async () => {
  hub.commit(repo, own, 'main');
  const [path, bytes] = Object.entries(own).find(([each]) => each.endsWith('.safetensors'))!;
  const { mkdirSync, writeFileSync } = await import('node:fs');
  mkdirSync(join(place(), 'blobs'), { recursive: true });
  const part = join(place(), 'blobs', `${Hub.sumOf(path, bytes).hex}.semanticvla.incomplete`);
  writeFileSync(part, Buffer.alloc(1000, 9));
  const { folder } = await pullCheckpoint(name);
  assert.ok(readFileSync(join(folder, path)).equals(bytes));
});

test('a branch that moved is followed by pull, and only what is new is fetched', async () => {
  const first = hub.commit(repo, own, 'main');
  await pullCheckpoint(name);
  const stats = Buffer.from(own['dataset_statistics.json']!.toString().concat(' '));
  const second = hub.commit(repo, { ...own, 'dataset_statistics.json': stats }, 'main');
  assert.is(await checkpointOfHub(name, {}), join(place(), 'snapshots', first));
  const report = await pullCheckpoint(name);
  assert.equal([report.commit, report.fetched], [second, stats.length]);
  assert.is(await checkpointOfHub(name, {}), join(place(), 'snapshots', second));
  assert.is((await pullCheckpoint(`${name}@${first}`)).fetched, 0);
});

test('what is no policy is refused before weights are fetched', async () => {
  const { 'config.json': config, ...rest } = own;
  hub.commit(repo, { ...rest, 'step/config.json': config! }, 'main');
  assert.match(
    await refused(pullCheckpoint(name)),
    /^CHECKPOINT_NOT_A_POLICY .*only in folders: .*step\/config\.json/,
  );
  hub.commit(repo, { 'README.md': Buffer.from('x') }, 'main');
  assert.match(await refused(pullCheckpoint(name)), /^CHECKPOINT_NOT_A_POLICY .*1 files without it/);
  const without = Object.fromEntries(Object.entries(own).filter(([path]) => !path.startsWith('model-00001')));
  hub.commit(repo, without, 'main');
  assert.match(await refused(pullCheckpoint(name)), /^CHECKPOINT_NOT_A_POLICY .*the weights model-00001/);
  assert.is(sentFor(/safetensors$/), 0);
});

test('a refusal says what to do', async () => {
  hub.commit(repo, own, 'main');
  assert.match(
    await refused(pullCheckpoint('hf:someone/else')),
    /^CHECKPOINT_NOT_FOUND .*or it is private.*HF_TOKEN/,
  );
  assert.match(
    await refused(pullCheckpoint(`${name}@v9`)),
    /^CHECKPOINT_NOT_FOUND .*branch, tag or commit v9/,
  );
  hub.faults = { status: 403 };
  assert.match(await refused(pullCheckpoint(name)), /^UNAUTHORIZED .*access has to be granted/);
  hub.faults = { statusOfAll: { status: 503 } };
  assert.match(await refused(pullCheckpoint(name)), /^REMOTE_FAILED .*status 503/);
  hub.faults = { list: () => 'no list' };
  assert.match(await refused(pullCheckpoint(name)), /^REMOTE_FAILED .*Check HF_ENDPOINT/);
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9';
  assert.match(await refused(pullCheckpoint(name)), /^REMOTE_UNREACHABLE .*127\.0\.0\.1:9/);
});

test('a list that leads out of the cache, or is no list, is refused', async () => {
  hub.commit(repo, own, 'main');
  const file = { type: 'file', oid: 'a'.repeat(40), size: 3, path: 'x.json' };
  const hostile = [
    ...['../x', '/etc/passwd', 'a/../../x', 'a//b', 'a\\b', 'a\0b', '', '.', './x', 'x'.repeat(2000)].map(
      (path) => ({ ...file, path }),
    ),
    ...[-1, 1.5, Number.MAX_VALUE, 'many', null].map((bytes) => ({ ...file, size: bytes })),
    ...['', '../x', 'A'.repeat(40), 'a'.repeat(39)].map((oid) => ({ ...file, oid })),
    { ...file, lfs: { oid: '../../x', size: 3, pointerSize: 1 } },
    { type: 'file' },
  ];
  for (const entry of hostile) {
    hub.faults = { list: () => [entry] };
    assert.match(await refused(pullCheckpoint(name)), /^REMOTE_FAILED/, JSON.stringify(entry));
  }
  assert.not.ok(existsSync(join(cache, 'hub')));
});

test('the token goes to the hub and to nobody else', async () => {
  hub.commit(repo, own, 'main');
  const other = await new Hub().start();
  other.commit(repo, own, 'main');
  try {
    hub.faults = { token: 'secret', redirect: other.url };
    assert.match(await refused(pullCheckpoint(name)), /^CHECKPOINT_NOT_FOUND/);
    process.env.HF_TOKEN = 'secret';
    assert.is((await pullCheckpoint(name)).fetched, unique);
    assert.ok(other.asked.length > 0);
    assert.equal(
      other.asked.filter(({ authorization }) => authorization !== undefined),
      [],
    );
  } finally {
    await other.close();
  }
});

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const python: Python = isLong
  ? pythonVenv('hub-venv', join(import.meta.dirname, 'requirements.txt'), 'import huggingface_hub')
  : { missing: 'SEMANTICVLA_LONG_TESTS=1 runs it' };

testWhen(
  'python' in python,
  'missing' in python ? python.missing : '',
  test,
  "Python's huggingface_hub finds what was pulled, and the other way round",
  async () => {
    const commit = hub.commit(repo, own, 'main', 'v1');
    /** @returns what Python says is the folder */
    const inPython = async (env: NodeJS.ProcessEnv, ...flags: string[]): Promise<string> => {
      const call = `huggingface_hub.snapshot_download('${repo}', ${flags.join(', ')})`;
      const child = spawn(
        (python as { python: string }).python,
        ['-c', `import huggingface_hub; print(${call})`],
        {
          env: { ...process.env, ...env },
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
      assert.is(child.exitCode, 0, errors);
      return out.trim();
    };
    const ours = await pullCheckpoint(name);
    assert.is(await inPython({ HF_HUB_OFFLINE: '1' }, 'local_files_only=True'), ours.folder);
    const asked = hub.asked.length;
    assert.is(await inPython({}, 'revision="main"'), ours.folder);
    assert.is(
      hub.asked.slice(asked).reduce((sum, { sent }) => sum + sent, 0),
      0,
      'Python fetches nothing again',
    );

    rmSync(cache, { recursive: true, force: true });
    const theirs = await inPython({}, 'revision="v1"');
    assert.is(theirs, join(place(), 'snapshots', commit));
    const before = hub.asked.length;
    assert.is(await checkpointOfHub(`${name}@v1`, {}), theirs);
    assert.is(hub.asked.length, before, 'nothing is asked');
    assert.is((await pullCheckpoint(name)).fetched, 0);
  },
);

test.run();
