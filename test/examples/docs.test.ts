/** Every TypeScript block of the pages fits the API, and those that are programs run as they are, on the tiny policy. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../helpers/cli.ts';
import { goldenCheckpoint, goldenCopy, goldenRoot } from '../helpers/golden.ts';

const test = suite('code of the pages');
const lib = JSON.stringify(join(root, 'lib/index.ts'));
const observation = join(goldenRoot, 'libero-tiny/obs0');

/** What a reader already has when reaching a block; the robot ends the program after its tenth command. */
const robotAtHand = `
import { readObservation } from ${lib};
const { observation } = await readObservation(${JSON.stringify(observation)});
const camera = { newest: () => ({ observation, at: performance.now() }) };
const commands: Float64Array[] = [];
const robot = { send: (values: Float64Array) => { if (commands.push(values) === 10) enough(); } };
`;

interface Page {
  /** Code before the block. */
  readonly given?: string;
  /** Code after it; only blocks with this field are run. */
  readonly after?: string;
  /** Must match the output of the program. */
  readonly prints?: RegExp;
  /** Another test runs it, with a server of its own. */
  readonly elsewhere?: string;
}

/** By page and number of the block. A block that is not listed fails the test. */
const pages: Readonly<Record<string, Page>> = {
  'README.md 1': { after: '', prints: /'gripper'[\s\S]*Float64Array\(7\)[\s\S]*full_image: Int32Array/ },
  'docs/checkpoints.md 1': {
    given: `import { Hub, filesOf } from ${JSON.stringify(join(root, 'test/hub/imitation.ts'))};
      const hub = await new Hub().start();
      hub.commit('owner/name', filesOf(${JSON.stringify(goldenCopy('libero-tiny'))}), 'v1');
      Object.assign(process.env, { HF_ENDPOINT: hub.url, HF_HUB_CACHE: 'hub' });`,
    after: 'await hub.close();',
    prints: /hub\/models--owner--name\/snapshots\/([0-9a-f]{40}) \1 1\d{7}/,
  },
  'docs/choosingAMode.md 1': {
    given: `${robotAtHand}let kills = 0;
      const enough = () => {
        if (kills++ === 0) process.kill(policy.pid!, 'SIGKILL');
        commands.length = 0;
        if (kills === 2) void loop.stop();
      };`,
    after: `console.log('ended', loop.running, policy.state, policy.counters.losses.crash);`,
    prints: /ended false closed 1/,
  },
  'docs/choosingAMode.md 2': {
    given: `${robotAtHand}const enough = () => void loop.stop();`,
    after: `console.log('sent', commands.length, commands[0]!.length);`,
    prints: /sent 1[01] 7/,
  },
  'docs/evaluate.md 1': { after: '', prints: /name: 'gripper'/ },
  'docs/evaluate.md 2': {
    after: '',
    prints: /episode 0 \[ 0, 4 \]\nepisode 1 \[ 0, 4 \]\nnormalized L1 error 0\.\d/,
  },
  'docs/fleet.md 1': { elsewhere: 'test/client/fleet.test.ts' },
  'docs/live.md 1': {
    given: `import { loadPolicy, servePolicy } from ${lib};
      ${robotAtHand}
      const own = await loadPolicy(${JSON.stringify(goldenCheckpoint('libero-tiny'))}, { unnormKey: 'libero_spatial_no_noops' });
      const serving = await servePolicy(own, { act: false, openpi: { port: 0 }, live: true });
      Object.assign(globalThis, { where: serving.openpiUrl });
      const events = (await fetch(serving.liveUrl + '/events')).body!.getReader();
      const enough = () => void loop.stop();`,
    after: `await loop.done;
      let told = '';
      while (!/event: loop\\n.*"left arm".*"values"/.test(told)) told += Buffer.from((await events.read()).value!).toString();
      console.log('told of', commands.length);
      await policy.close();
      await serving.close();
      await own.close();`,
    prints: /told of 1[01]/,
  },
  'docs/profiling.md 1': {
    given: `import { loadPolicy } from ${lib};
      ${robotAtHand}
      const policy = await loadPolicy(${JSON.stringify(goldenCheckpoint('libero-tiny'))}, { unnormKey: 'libero_spatial_no_noops' });
      const instruction = 'pick up the black bowl';
      const observe = camera.newest;
      const act = ({ values }: { values: Float64Array }) => robot.send(values);
      const enough = () => void loop.stop();`,
    after: `await loop.done;
      console.log('file', await flights.dump());
      await flights.close();
      await policy.close();`,
    prints: /file flights\/flight-.*\.perfetto-trace/,
  },
  'docs/safety.md 1': {
    given: `import { loadPolicy } from ${lib};
      ${robotAtHand}
      const policy = await loadPolicy(${JSON.stringify(goldenCheckpoint('libero-tiny'))}, { unnormKey: 'libero_spatial_no_noops' });
      const emergencyStop = () => console.log('lost');
      const enough = () => process.emit('SIGINT');`,
    after: `await policy.close();
      console.log('ended', loop.running, loop.counters.held.stopped);`,
    prints: /ended false 1/,
  },
  'docs/serving.md 1': { elsewhere: 'test/serve/docs.test.ts' },
  'docs/serving.md 2': { elsewhere: 'test/serve/docs.test.ts' },
};

function blocksOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^ *```ts\n(.*?)^ *```/gms)].map((found) => found[1]!);
}

/** The block with the code before and after it. */
function programOf(code: string, { given = '', after = '' }: Page): string {
  const own = code
    .replaceAll("'semanticvla'", lib)
    .replaceAll(/'checkpoints?(\/libero)?'/g, JSON.stringify(goldenCheckpoint('libero-tiny')))
    .replaceAll(
      "'ws://127.0.0.1:8000'",
      "((globalThis as { where?: string }).where ?? 'ws://127.0.0.1:8000')",
    )
    .replaceAll("'observations/000'", JSON.stringify(observation))
    .replaceAll("'recordings/cups'", JSON.stringify(join(root, 'test/dataset/recorded/lerobot-v3.0-images')));
  return `${given}\n${own}\n${after}\n`;
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, timeout: 240_000, env: { ...process.env, FORCE_COLOR: '0' } });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    child.on('close', (code) => resolve({ code, text }));
  });
}

test('each block compiles against the API, and each program runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-pages-'));
  try {
    const names = [
      'README.md',
      ...readdirSync(join(root, 'docs'))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `docs/${name}`),
    ];
    const files: { readonly name: string; readonly file: string; readonly page: Page }[] = [];
    for (const name of names) {
      for (const [i, code] of blocksOf(name).entries()) {
        const block = `${name} ${i + 1}`;
        assert.ok(Object.hasOwn(pages, block), `${block}: say here how it is run`);
        const page = pages[block]!;
        const file = join(folder, `${block.replace(/\W+/g, '-')}.mts`);
        writeFileSync(file, programOf(code, page));
        files.push({ name: block, file, page });
      }
    }
    assert.equal(files.map(({ name }) => name).sort(), Object.keys(pages).sort());
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          typeRoots: [join(root, 'node_modules/@types')],
          allowImportingTsExtensions: true,
          rewriteRelativeImportExtensions: false,
        },
        // what the package declares of a module without types
        files: [...files.map(({ file }) => file), join(root, 'lib/serve/msgpack5.d.ts')],
        include: [],
      }),
    );
    const programs = files.filter(({ page }) => page.after !== undefined);
    assert.ok(programs.length >= 4);
    // two at a time: their deadlines are those of the pages, which a dozen that start at once would miss
    const waiting = programs.values();
    const lane = async (): Promise<void> => {
      for (const { file, name, page } of waiting) {
        const { code, text } = await run(
          process.execPath,
          ['--import', import.meta.resolve('tsx'), file],
          folder,
        );
        assert.is(code, 0, `${name}: ${text}`);
        assert.ok(page.prints!.test(text), `${name}: ${text}`);
      }
    };
    const compile = async (): Promise<void> => {
      const { code, text } = await run(
        process.execPath,
        [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder],
        folder,
      );
      assert.is(code, 0, text);
      await lane();
    };
    await Promise.all([compile(), lane()]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
