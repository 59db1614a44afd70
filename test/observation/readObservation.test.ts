import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { failure } from './errorCode.ts';

const observations = suite('observation/readObservation');

const golden = (path: string) => fileURLToPath(new URL(`../golden/${path}`, import.meta.url));

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-observation-'));
  try {
    const frame = sharp(new Uint8Array(12), { raw: { width: 2, height: 2, channels: 3 } });
    writeFileSync(join(folder, 'a.png'), await frame.png().toBuffer());
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

observations('reads the golden observations, cameras in the order of the file', async () => {
  const { observation, instruction } = await readObservation(golden('aloha-tiny/obs0'));
  assert.equal(Object.keys(observation.images), ['full_image', 'left_wrist_image', 'right_wrist_image']);
  assert.is(observation.state!.length, 14);
  assert.is(observation.state![0], 1.63353);
  assert.is(instruction, undefined);
});

observations('instruction and state are optional, and key order is kept', async () => {
  await withFolder(async (folder) => {
    const images =
      '{"wrist_z": "a.png", "full_image": "./a.png", "__proto__": "a.png", "constructor": "a.png"}';
    writeFileSync(join(folder, 'observation.json'), `{"recorded": "noon", "images": ${images}}`);
    const bare = await readObservation(folder);
    assert.equal(Object.keys(bare.observation.images), ['wrist_z', 'full_image', '__proto__', 'constructor']);
    assert.is('state' in bare.observation, false);
    assert.is('instruction' in bare, false);

    writeFileSync(
      join(folder, 'observation.json'),
      '{"instruction": "open the drawer", "state": [1, -2.5e-3], "images": {"full_image": "a.png"}}',
    );
    const full = await readObservation(folder);
    assert.is(full.instruction, 'open the drawer');
    assert.equal(full.observation.state, new Float64Array([1, -0.0025]));
  });
});

observations('the state may be a .npy file of any number type', async () => {
  await withFolder(async (folder) => {
    const writeState = (descr: string, shape: string, data: ArrayBufferView) => {
      const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117);
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      const head = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header}\n`, 'latin1');
      writeFileSync(join(folder, 'state.npy'), Buffer.concat([head, bytes]));
    };
    writeFileSync(
      join(folder, 'observation.json'),
      '{"state": "state.npy", "images": {"full_image": "a.png"}}',
    );
    const state = async () => (await readObservation(folder)).observation.state;
    writeState('<f8', '2,', new Float64Array([0.1, 2]));
    assert.equal(await state(), new Float64Array([0.1, 2]));
    writeState('<i8', '1, 2', new BigInt64Array([-3n, 4n]));
    assert.equal(await state(), new Float64Array([-3, 4]));
    writeState('<f4', '2,', new Float32Array([1, Number.NaN]));
    assert.match((await failure(state)).message, /NaN at index 1/);
    writeState('<f4', '2, 2', new Float32Array(4));
    assert.is((await failure(state)).code, 'STATE_INVALID');
    writeState('<f4', '3,', new Float32Array(2));
    assert.is((await failure(state)).code, 'NPY_INVALID');
  });
});

observations('each way to be wrong has a code and says what was found', async () => {
  const images = '"images": {"full_image": "a.png"}';
  const cases: [string, string, RegExp][] = [
    ['', 'OBSERVATION_INVALID', /found an empty file/],
    ['{"images": {"a": "a.png"}', 'OBSERVATION_INVALID', /expected JSON/],
    ['[1]', 'OBSERVATION_INVALID', /an object with "images", found \[1\]/],
    ['{}', 'OBSERVATION_INVALID', /found nothing/],
    ['{"image": {"full_image": "a.png"}}', 'OBSERVATION_INVALID', /the key "images", found "image"/],
    ['{"Instruction": "go", "images": {"full_image": "a.png"}}', 'OBSERVATION_INVALID', /"instruction"/],
    ['{"images": {}}', 'OBSERVATION_INVALID', /1 to 16 images, found 0/],
    ['{"images": ["a.png"]}', 'OBSERVATION_INVALID', /camera name and file/],
    ['{"images": {"full_image": 3}}', 'OBSERVATION_INVALID', /image "full_image" to be a file name, found 3/],
    ['{"images": {"full_image": "a.png", "full_image": "a.png"}}', 'OBSERVATION_INVALID', /full_image/],
    ['{"images": {"full_image": "a.png", "0": "a.png"}}', 'OBSERVATION_INVALID', /names that are words/],
    ['{"images": {"full_image": "../a.png"}}', 'OBSERVATION_INVALID', /inside the observation/],
    ['{"images": {"full_image": "b/../../a.png"}}', 'OBSERVATION_INVALID', /inside the observation/],
    ['{"images": {"full_image": "/etc/hostname.png"}}', 'OBSERVATION_INVALID', /inside the observation/],
    ['{"images": {"full_image": "a.png\\u0000.npy"}}', 'OBSERVATION_INVALID', /file name/],
    ['{"images": {"full_image": "none.png"}}', 'IMAGE_INVALID', /none\.png: .*no such file/],
    [`{"state": "../state.npy", ${images}}`, 'OBSERVATION_INVALID', /inside the observation/],
    [`{"state": "state.txt", ${images}}`, 'STATE_INVALID', /state\.txt/],
    [`{"state": "none.npy", ${images}}`, 'STATE_INVALID', /ENOENT/],
    [`{"state": [], ${images}}`, 'STATE_INVALID', /found \[\]/],
    [`{"state": [1, "2"], ${images}}`, 'STATE_INVALID', /list of numbers/],
    [`{"state": {"0": 1}, ${images}}`, 'STATE_INVALID', /list of numbers/],
    [`{"state": [1, 1e999], ${images}}`, 'STATE_INVALID', /Infinity at index 1/],
    [`{"state": [NaN], ${images}}`, 'OBSERVATION_INVALID', /NaN/],
    [`{"instruction": 5, ${images}}`, 'INSTRUCTION_INVALID', /found 5/],
    [`{"instruction": "${'x'.repeat(2 ** 20)}", ${images}}`, 'OBSERVATION_INVALID', /at most 1048576 bytes/],
  ];
  await withFolder(async (folder) => {
    for (const [json, expectedCode, expectedMessage] of cases) {
      writeFileSync(join(folder, 'observation.json'), json);
      const { code, message } = await failure(() => readObservation(folder));
      assert.is(code, expectedCode, `${json.slice(0, 80)}: ${message}`);
      assert.match(message, expectedMessage);
    }
    rmSync(join(folder, 'observation.json'));
    assert.match(
      (await failure(() => readObservation(folder))).message,
      /found none; an observation is a folder/,
    );
    assert.is((await failure(() => readObservation(join(folder, 'a.png')))).code, 'OBSERVATION_INVALID');
  });
});

observations.run();
