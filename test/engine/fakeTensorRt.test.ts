/** The loader and builder against a library that is TensorRT 10 in name only, as when the driver is missing. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon/binding.ts';
import { modulePath } from '../../lib/addon/nativeFiles.ts';
import { buildEngine } from '../../lib/engine/buildEngine.ts';
import { findTensorRt } from '../../lib/engine/findTensorRt.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const fake = suite('engine/fakeTensorRt');
const module = modulePath('trt10');
const missing = 'semanticvla_trt10.so is not built (TENSORRT_ROOT=<headers> npm run build:native)';

/** Builder, runtime and parser are refused, as the real ones are without a GPU. */
function fakeTensorRt(version: readonly number[], symbols: readonly string[]): string {
  const folder = mkdtempSync(join(scratchFolder(), 'fake-'));
  const parts = ['Major', 'Minor', 'Patch', 'Build'];
  const getters = parts.map((part, i) => `int getInferLib${part}Version(void) { return ${version[i]}; }`);
  const makers = symbols.map((name) => `void* ${name}(void* a, int b) { return 0; }`);
  const source = join(folder, 'fake.c');
  writeFileSync(source, [...getters, ...makers].join('\n'));
  const library = join(folder, 'libnvinfer.so.10');
  execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', '-w', '-o', library, source]);
  writeFileSync(source, 'void* createNvOnnxParser_INTERNAL(void* a, void* b, int c) { return 0; }');
  execFileSync(process.env.CC ?? 'cc', [
    '-shared',
    '-fPIC',
    '-o',
    join(folder, 'libnvonnxparser.so.10'),
    source,
  ]);
  return library;
}

const entryPoints = ['createInferBuilder_INTERNAL', 'createInferRuntime_INTERNAL'];
const model = { name: 'policy', onnx: new Uint8Array(8), path: '', profiles: [], plugins: {} };
const options = { targets: [], optimizationLevel: null, workspaceBytes: null };

async function failure(promise: Promise<unknown>): Promise<SemanticVlaError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    return error as SemanticVlaError;
  }
  throw new Error('expected an error');
}

testWhen(module !== null, missing, fake, 'no builder without a GPU: said with what to do', async () => {
  const tensorRt = findTensorRt({ path: fakeTensorRt([10, 13, 2, 6], entryPoints) });
  assert.is(tensorRt.family, 'trt10');
  assert.is(tensorRt.version, '10.13.2.6');
  assert.is(tensorRt.module, module);
  const { code, message } = await failure(buildEngine(tensorRt, model, options));
  assert.is(code, 'ENGINE_BUILD_FAILED');
  assert.match(message, /TensorRT 10\.13\.2\.6/);
  assert.match(message, /did not create a builder/);
  assert.match(message, /nvidia-smi/);
  assert.match(message, /pip install tensorrt-rtx-cu13-libs/);
});

testWhen(module !== null, missing, fake, 'a library without an entry point is named', async () => {
  const tensorRt = findTensorRt({ path: fakeTensorRt([10, 13, 2, 6], []) });
  const { message } = await failure(buildEngine(tensorRt, model, options));
  assert.match(message, /libnvinfer\.so\.10: expected the symbol createInfer/);
});

testWhen(module !== null, missing, fake, 'a module of another family, and a file that is no module', () => {
  const library = fakeTensorRt([10, 13, 2, 6], entryPoints);
  assert.throws(() => loadAddon().inspectTensorRt({ library, module: library }), /semanticvlaTensorRtModule/);
  const rtx = modulePath('rtx1');
  if (rtx === null) return;
  const build = loadAddon().buildEngine(
    {
      library,
      parser: join(library, '../libnvonnxparser.so.10'),
      module: rtx,
      model: model.onnx,
      modelPath: '',
      profiles: [],
      targets: [],
      optimizationLevel: -1,
      workspaceBytes: 0,
      timingCache: new Uint8Array(),
      plugins: {},
    },
    () => {},
  );
  return build.done.then(
    () => assert.unreachable('a module for TensorRT-RTX must not take TensorRT 10'),
    (error: Error) => assert.match(error.message, /expected a module for .*10\.13\.2, found one for rtx1/),
  );
});

fake.run();
