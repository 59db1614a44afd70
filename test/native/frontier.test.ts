import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const frontier = suite('native/frontier');

const root = resolve(import.meta.dirname, '../..');

/** Text files below `folder` by path from the root, of the given endings. */
function sources(folder: string, endings: RegExp): [string, string][] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => [relative(root, file), readFileSync(file, 'utf8')]);
}

frontier('only the addon’s edge knows napi.h', () => {
  const files = sources('native', /\.(h|cpp|cu|cuh)$/);
  const edge = files.filter(([, text]) => /#include\s*[<"]napi\.h/.test(text)).map(([file]) => file);
  assert.ok(edge.length > 0);
  for (const file of edge) assert.match(file, /^native\/(addon\.cpp|napi\/)/);
});

frontier('only lib/addon/binding.ts names the compiled file', () => {
  const files = sources('lib', /\.ts$/).filter(([, text]) => /\.node['"`]/.test(text));
  assert.equal(
    files.map(([file]) => file),
    ['lib/addon/binding.ts'],
  );
});

/** Operations with a CUDA kernel: their counterparts in native/reference are twins, built only into the kernel tests. */
function kernelTwins(): Set<string> {
  const stems = readdirSync(join(root, 'native/kernels')).flatMap(
    (name) => /^(.*)\.cu$/.exec(name)?.[1] ?? [],
  );
  // `selection` is what two of the twins share
  return new Set([...stems, 'selection'].map((stem) => `native/reference/${stem}.cpp`));
}

frontier('sources.txt lists files that exist, and all of the CPU part', () => {
  const listed = readFileSync(join(root, 'native/sources.txt'), 'utf8').trim().split('\n');
  for (const file of listed) assert.ok(existsSync(join(root, file)), file);
  const cpuPart = sources('native', /\.cpp$/)
    .map(([file]) => file)
    .filter((file) => /^native\/(addon\.cpp|napi\/|onnx\/|reference\/|support\/)/.test(file));
  // of native/runtime what needs neither CUDA nor TensorRT; the rest is in the modules
  const others = listed.filter((file) => !file.startsWith('native/runtime/'));
  const twins = kernelTwins();
  assert.ok(cpuPart.some((file) => twins.has(file)));
  assert.equal(others.toSorted(), cpuPart.filter((file) => !twins.has(file)).toSorted());
});

frontier.run();
