import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon, nativeKeys } from '../../lib/addon/binding.ts';

const binding = suite('native/binding');

binding('the compiled addon exports exactly what the binding declares', () => {
  assert.equal(Object.getOwnPropertyNames(loadAddon()).sort(), Object.keys(nativeKeys).sort());
});

binding.run();
