import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { checkOptions, expected, nearest } from '../../lib/support/options.ts';

const test = suite('options');

const known = ['platform', 'cameras', 'unnormKey', 'centerCrop', 'jpeg', 'instructionCache'];

function refused(given: unknown, code: string, message: string): void {
  assert.throws(
    () => checkOptions(given as object, known, 'loadPolicy'),
    (error: unknown) => {
      assert.instance(error, SemanticVlaError);
      assert.is((error as SemanticVlaError).code, code);
      assert.is((error as SemanticVlaError).message, message);
      return true;
    },
  );
}

test('known options pass, also when undefined', () => {
  checkOptions({}, known, 'loadPolicy');
  checkOptions({ unnormKey: 'a', jpeg: undefined }, known, 'loadPolicy');
});

test('misspellings are recognised', () => {
  for (const [given, meant] of [
    ['unnormkey', 'unnormKey'],
    ['unnorm_key', 'unnormKey'],
    ['unnorm-key', 'unnormKey'],
    ['unormKey', 'unnormKey'],
    ['camera', 'cameras'],
    ['centreCrop', 'centerCrop'],
    ['jpge', 'jpeg'],
    ['platfrom', 'platform'],
  ] as const) {
    refused({ [given]: 1 }, 'OPTION_UNKNOWN', `Misspelled option ${given} of loadPolicy should be ${meant}.`);
  }
});

test('what is near nothing is refused with the list', () => {
  refused(
    { temperature: 1 },
    'OPTION_UNKNOWN',
    `Unknown option temperature of loadPolicy. Known: ${known.join(', ')}.`,
  );
  refused({ x: 1 }, 'OPTION_UNKNOWN', `Unknown option x of loadPolicy. Known: ${known.join(', ')}.`);
  refused(
    JSON.parse('{"__proto__": 1}'),
    'OPTION_UNKNOWN',
    `Unknown option __proto__ of loadPolicy. Known: ${known.join(', ')}.`,
  );
});

test('options that are no object are refused', () => {
  refused(
    null,
    'OPTION_INVALID',
    'Expected an object for options of loadPolicy but received null of type null.',
  );
  refused(
    'a',
    'OPTION_INVALID',
    'Expected an object for options of loadPolicy but received "a" of type string.',
  );
  refused(
    [],
    'OPTION_INVALID',
    'Expected an object for options of loadPolicy but received [] of type array.',
  );
});

test('the nearest of several, null when none is near', () => {
  assert.is(nearest('libero_spatial', ['libero_object_no_noops', 'libero_spatia']), 'libero_spatia');
  assert.is(nearest('abc', ['xyz']), null);
  assert.is(nearest('abc', []), null);
});

test('one message shape for wrong types, whatever the value', () => {
  const message = (value: unknown) => expected('OPTION_INVALID', 'a number', 'chunk', value).message;
  assert.is(message('8'), 'Expected a number for chunk but received "8" of type string.');
  assert.is(message(8n), 'Expected a number for chunk but received 8n of type bigint.');
  assert.is(message([1, [2]]), 'Expected a number for chunk but received [1, an array] of type array.');
  assert.is(
    message(new Uint8Array(5)),
    'Expected a number for chunk but received 5 bytes of type Uint8Array.',
  );
  assert.is(message(new Map()), 'Expected a number for chunk but received an object of type Map.');
  assert.is(
    message(() => 1),
    'Expected a number for chunk but received a function of type function.',
  );
  assert.ok(message('x'.repeat(1e6)).length < 150);
  const circular: unknown[] = [];
  circular.push(circular);
  assert.match(message(circular), /\[an array\]/);
  const hostile = {
    get [Symbol.toStringTag](): string {
      throw new Error('hostile');
    },
  };
  assert.match(message(hostile), /an object of type object/);
});

test('property: any value and any options end in nothing but a typed error', () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      assert.instance(expected('OPTION_INVALID', 'a', 'b', value), SemanticVlaError);
      try {
        checkOptions(value as object, known, 'loadPolicy');
      } catch (error) {
        assert.instance(error, SemanticVlaError);
      }
    }),
    { numRuns: 500 },
  );
});

test.run();
