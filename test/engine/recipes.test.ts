import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRecipe, readRecipe, recipeNames } from '../../lib/engine/recipes.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

const recipes = suite('engine/recipes');

recipes('every device of the project has one, named as its file', () => {
  const capabilities = new Map(recipeNames().map((name) => [name, readRecipe(name).computeCapability]));
  assert.equal(Object.fromEntries(capabilities), {
    a100: 80,
    h100: 90,
    'jetson-orin': 87,
    'jetson-thor': 110,
    'rtx-30': 86,
    'rtx-40': 89,
    'rtx-50': 120,
  });
  for (const name of recipeNames()) assert.is(readRecipe(name).name, name);
});

recipes('TensorRT-RTX only where it exists: not on Jetsons, not for Hopper', () => {
  for (const name of ['jetson-orin', 'jetson-thor', 'h100']) {
    assert.not.ok(readRecipe(name).families.includes('rtx1'), name);
  }
});

recipes('a misspelling is recognised', () => {
  assert.throws(
    () => readRecipe('jetson-orrin'),
    (error: unknown) =>
      error instanceof SemanticVlaError && /jetson-orin was probably meant/.test(error.message),
  );
});

recipes('each wrong field is named', () => {
  const good = readRecipe('rtx-40');
  const wrong: Record<string, unknown>[] = [
    { computeCapability: 8.9 },
    { families: ['trt9'] },
    { families: [] },
    { precision: 'fp16' },
    { weights: 'inside' },
    { optimizationLevel: 6 },
    { workspaceBytes: -1 },
    { promptLength: { min: 40, opt: 32, max: 128 } },
    { promptLength: undefined },
  ];
  for (const change of wrong) {
    const [field] = Object.keys(change);
    assert.throws(
      () => checkRecipe('x.json', { ...good, ...change }),
      (error: unknown) =>
        error instanceof SemanticVlaError &&
        error.code === 'OPTION_INVALID' &&
        error.message.includes(`x.json: ${field}`),
      field,
    );
  }
  assert.equal(checkRecipe('x.json', good), good);
});

recipes.run();
