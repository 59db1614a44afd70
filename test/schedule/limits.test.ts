/** Limits: every action sent satisfies all of them, or none is sent. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionDimension } from '../../lib/schedule/actionSpace.ts';
import { Limiter, type LimitOptions } from '../../lib/schedule/limits.ts';
import { stepBounds } from '../../lib/schedule/stepBounds.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { Random } from '../../lib/support/random.ts';

const test = suite('limits');
const period = 20;
const joint: ActionDimension = { name: 'j', kind: 'position', unit: 'rad', state: { index: 0, scale: 1 } };

function limiter(dimension: ActionDimension, options: LimitOptions): Limiter {
  return new Limiter({ name: 'one', dimensions: [dimension] }, options, period);
}

const at = (state: number) => ({ images: {}, state: [state] });

/** Sends `value`; returns what was sent, or why nothing was. */
function send(limits: Limiter, value: number, state = 0, time = 0): number | string {
  const result = limits.apply([value], at(state), time);
  if ('refused' in result) return result.refused;
  limits.executed(result.values, time);
  return result.values[0]!;
}

test('not finite is refused before it is clamped', () => {
  const limits = limiter({ ...joint, range: [-1, 1] }, { maxStep: { j: 0.1 } });
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    assert.is(send(limits, value), 'notFinite');
  }
});

test('ten million fuzzed values: whatever comes, what leaves is finite and in range', () => {
  const width = 10;
  const rows = 1_000_000;
  const dimensions = Array.from({ length: width }, (_, d) => ({
    ...joint,
    name: `j${d}`,
    range: [-1, 1] as const,
  }));
  const limits = new Limiter({ name: 'ten', dimensions }, {}, period);
  const random = new Random(5);
  const words = new Uint32Array(2 * width);
  const values = new Float64Array(words.buffer);
  let refused = 0;
  let wrong = 0;
  for (let i = 0; i < rows; i++) {
    for (let w = 0; w < words.length; w++) words[w] = random.next() * 2 ** 32;
    // in every fourth row one value has all its exponent bits: NaN or an infinity
    if (i % 4 === 0) words[2 * (i % width) + 1]! |= 0x7ff00000;
    const result = limits.apply(values, null, 0);
    const allFinite = values.every(Number.isFinite);
    if ('refused' in result) {
      refused++;
      if (allFinite) wrong++;
    } else if (!allFinite || !result.values.every((value) => value >= -1 && value <= 1)) wrong++;
  }
  assert.is(wrong, 0);
  assert.ok(refused >= rows / 4);
});

test('training statistics bound with a margin, the range of the hardware without', () => {
  const statistics = { min: [-1], max: [1] };
  assert.is(send(limiter(joint, { statistics, margin: 0.1 }), 5), 1.2);
  assert.is(send(limiter(joint, { statistics, margin: 0 }), -5), -1);
  assert.is(send(limiter({ ...joint, range: [-0.5, 0.5] }, { statistics }), 5), 0.5);
});

test('step and velocity count from where the robot is, then from what was sent', () => {
  const limits = limiter(joint, { maxStep: { j: 0.1 } });
  assert.is(send(limits, 5, 2), 2.1);
  assert.is(send(limits, 5, 2), 2.2);
  const slow = limiter(joint, { maxVelocity: { j: 1 } });
  assert.is(send(slow, 5, 2), 2 + period / 1000);
});

test('motion without knowing where the robot is: refused', () => {
  const limits = limiter(joint, { maxStep: { j: 0.1 } });
  const result = limits.apply([1], { images: {} }, 0);
  assert.is('refused' in result && result.refused, 'positionUnknown');
  assert.is('refused' in limits.apply([1], at(Number.NaN), 0), true);
});

test('a joint sent far beyond its end brakes in time and comes to rest there', () => {
  const acceleration = 10;
  const limits = limiter({ ...joint, range: [-1, 1] }, { maxAcceleration: { j: acceleration } });
  const change = acceleration * (period / 1000) ** 2;
  let last = 0;
  let lastStep = 0;
  for (let i = 0; i < 80; i++) {
    const value = send(limits, 99);
    assert.type(value, 'number');
    const step = (value as number) - last;
    assert.ok((value as number) <= 1 && step >= -1e-12, `tick ${i}: ${value}`);
    assert.ok(Math.abs(step - lastStep) <= change * (1 + 1e-9), `tick ${i}: ${step} after ${lastStep}`);
    last = value as number;
    lastStep = step;
  }
  assert.ok(Math.abs(last - 1) < 1e-9 && Math.abs(lastStep) < 1e-9);
});

test('braking: the largest step is one from which shrinking steps stop in the room, and no larger one', () => {
  const random = new Random(9);
  for (let i = 0; i < 2000; i++) {
    const change = random.between(0.001, 1);
    const room = random.between(0, 20);
    const [, high] = stepBounds({
      room: [0, room],
      step: 1e9,
      change,
      lastStep: random.between(0, 5) + 1e6 * 0,
    });
    const unbound = stepBounds({ room: [0, room], step: 1e9, change, lastStep: 1e9 });
    const distance = (first: number): number => {
      let sum = 0;
      for (let step = first; step > 0; step -= change) sum += step;
      return sum;
    };
    assert.ok(distance(high) <= room * (1 + 1e-9) + 1e-12);
    assert.ok(distance(unbound[1] * (1 + 1e-6)) > room * (1 - 1e-9));
  }
});

test('deltas: step, and a workspace in units of the state', () => {
  const delta: ActionDimension = { name: 'j', kind: 'delta', unit: '1', state: { index: 0, scale: 0.05 } };
  assert.is(send(limiter(delta, { maxStep: { j: 0.5 } }), -3), -0.5);
  const limits = limiter(delta, { workspace: { j: [-1, 1] } });
  // 0.02 from the edge: 0.4 units of the controller
  assert.ok(Math.abs((send(limits, 1, 0.98, 0) as number) - 0.4) < 1e-9);
  // the same observation again: the delta executed since then has used up the room
  assert.ok(Math.abs(send(limits, 1, 0.98, 0) as number) < 1e-9);
  // pushed out: it may come back, but go no further out
  assert.is(send(limits, 1, 1.5, 10), 0);
  assert.is(send(limits, -1, 1.5, 20), -1);
});

test('angles step the short way round', () => {
  const angle: ActionDimension = { name: 'j', kind: 'angle', unit: 'rad', state: { index: 0, scale: 1 } };
  const limits = limiter(angle, { maxStep: { j: 0.1 } });
  const first = send(limits, -3, 3) as number;
  assert.ok(Math.abs(first - 3.1) < 1e-9, `${first}`);
  const second = send(limits, -3, 3) as number;
  assert.ok(Math.abs(second - (3.2 - 2 * Math.PI)) < 1e-9, `${second}`);
});

test('limits that a dimension cannot have are refused by name', () => {
  const grip: ActionDimension = { name: 'g', kind: 'binaryGripper', unit: '1', range: [0, 1] };
  const wrong: [ActionDimension, LimitOptions, string][] = [
    [grip, { maxStep: { g: 1 } }, 'OPTION_INVALID'],
    [joint, { maxStep: { jj: 1 } }, 'OPTION_UNKNOWN'],
    [joint, { maxStep: { j: 0 } }, 'OPTION_INVALID'],
    [joint, { workspace: { j: [1, -1] } }, 'OPTION_INVALID'],
    [{ ...joint, range: [0, 1] }, { workspace: { j: [2, 3] } }, 'OPTION_INVALID'],
    [{ name: 'j', kind: 'position', unit: 'm' }, { maxStep: { j: 1 } }, 'OPTION_INVALID'],
    [joint, { statistics: { min: [0, 0], max: [1, 1] } }, 'OPTION_INVALID'],
    [joint, { margin: -1 }, 'OPTION_INVALID'],
    [joint, { maxstep: { j: 1 } } as LimitOptions, 'OPTION_UNKNOWN'],
  ];
  for (const [dimension, options, code] of wrong) {
    try {
      limiter(dimension, options);
    } catch (error) {
      assert.is((error as SemanticVlaError).code, code);
      continue;
    }
    assert.unreachable(JSON.stringify(options));
  }
});

test('which limit changed a value', () => {
  const named = (
    dimension: ActionDimension,
    options: LimitOptions,
    value: number,
    state = 0,
    before: number[] = [],
  ) => {
    const limits = limiter(dimension, options);
    for (const earlier of before) send(limits, earlier, state);
    const result = limits.apply([value], at(state), 0);
    assert.ok('values' in result && result.changed.length === 1, JSON.stringify(result));
    return limits.limitsOf([value], result.values, result.changed)[0];
  };
  const ranged = { ...joint, range: [-1, 1] as const };
  const delta: ActionDimension = { ...joint, kind: 'delta', range: [-1, 1] };
  const statistics = { min: [-0.5], max: [0.5] };
  assert.is(named(ranged, {}, 5), 'range');
  assert.is(named(joint, { statistics }, 5), 'range');
  assert.is(named(ranged, { maxStep: { j: 0.1 } }, 5), 'step');
  assert.is(named(ranged, { maxStep: { j: 10 } }, 5), 'range');
  assert.is(named(joint, { maxVelocity: { j: 1 } }, -5, 2), 'step');
  assert.is(named(joint, { maxAcceleration: { j: 10 } }, 5), 'acceleration');
  assert.is(named(joint, { maxAcceleration: { j: 10 }, maxStep: { j: 0.001 } }, 5), 'step');
  assert.is(named(delta, {}, 5), 'range');
  assert.is(named(delta, { workspace: { j: [-1, 1] } }, 0.9, 0.5), 'workspace');
  assert.is(named(delta, { maxStep: { j: 0.1 } }, 0.9), 'step');
  // beyond the middle of its way it has to slow down: the end alone or the acceleration alone would not ask that
  const way = Array.from({ length: 20 }, () => 5);
  assert.is(named(ranged, { maxAcceleration: { j: 10 } }, 5, 0, way), 'braking');
});

test.run();
