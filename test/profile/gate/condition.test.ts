import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Condition, parseCondition } from '../../../lib/profile/gate/condition.ts';
import { failure } from '../../observation/errorCode.ts';

const test = suite('profile/gate/condition');

test('what can be said', () => {
  const cases: [string, Omit<Condition, 'text'>][] = [
    [
      'p50 > 1.05x',
      { stage: 'total', statistic: 'percentile', percentile: 50, side: 'above', limit: 1.05, kind: 'ratio' },
    ],
    [
      'p99>12ms',
      { stage: 'total', statistic: 'percentile', percentile: 99, side: 'above', limit: 12, kind: 'absolute' },
    ],
    [
      'p99.9 >= 0.5s',
      {
        stage: 'total',
        statistic: 'percentile',
        percentile: 99.9,
        side: 'above',
        limit: 500,
        kind: 'absolute',
      },
    ],
    [
      'median > 1x',
      { stage: 'total', statistic: 'percentile', percentile: 50, side: 'above', limit: 1, kind: 'ratio' },
    ],
    [
      'compute.p50 > 1.1x',
      { stage: 'compute', statistic: 'percentile', percentile: 50, side: 'above', limit: 1.1, kind: 'ratio' },
    ],
    [
      'tokenize.mean > 250us',
      {
        stage: 'tokenize',
        statistic: 'mean',
        percentile: null,
        side: 'above',
        limit: 0.25,
        kind: 'absolute',
      },
    ],
    [
      '  throughput <= .95 x ',
      {
        stage: 'total',
        statistic: 'throughput',
        percentile: null,
        side: 'below',
        limit: 0.95,
        kind: 'ratio',
      },
    ],
    [
      'throughput < 80/s',
      {
        stage: 'total',
        statistic: 'throughput',
        percentile: null,
        side: 'below',
        limit: 80,
        kind: 'absolute',
      },
    ],
  ];
  for (const [text, expected] of cases) {
    assert.equal(parseCondition(text), { text: text.trim(), ...expected }, text);
  }
});

test('what cannot: the place, what was expected there, what was found', async () => {
  const cases: [string, string][] = [
    ['', 'expected a statistic or a stage at character 1, found nothing'],
    ['> 5ms', 'expected a statistic or a stage at character 1, found "> 5ms"'],
    ['p50', 'expected > or < at character 4, found nothing'],
    ['p50 = 1.05x', 'expected > or < at character 5, found "= 1.05x"'],
    ['p50 >> 1.05x', 'expected a number at character 6, found "> 1.05x"'],
    ['p50 > x', 'expected a number at character 7, found "x"'],
    ['p50 > -1x', 'expected a number at character 7, found "-1x"'],
    ['p50 > 0x', 'expected a number above 0 at character 7, found "0x"'],
    ['p50 > 1.05', 'expected x, ms, us or s at character 11, found nothing'],
    ['p50 > 5%', 'expected x, ms, us or s at character 8, found "%"'],
    ['p50 > 1.05x or so', 'expected the end at character 13, found "or so"'],
    ['throughput < 80ms', 'expected x or /s at character 16, found "ms"'],
    ['p100 > 1x', 'expected a percentile between p0 and p100 at character 1, found "p100 > 1x"'],
    ['p0 > 1x', 'expected a percentile between p0 and p100 at character 1'],
    ['speed > 1x', 'expected p50, p90, p95, p99, mean or throughput at character 1, found "speed > 1x"'],
    ['max > 1.1x', 'of max nothing can be said with confidence'],
    [
      'compute > 1.1x',
      'expected p50, p90, p95, p99, mean or throughput at character 1, found "compute > 1.1x"',
    ],
    ['compute. > 1.1x', 'expected a statistic at character 10, found "> 1.1x"'],
    ['resise.p50 > 1.1x', 'resize was probably meant) at character 1, found "resise.p50 > 1.1x"'],
    ['compute.throughput > 1x', 'throughput is of whole chunks) at character 9'],
    ['compute.max > 1x', 'of max nothing can be said'],
  ];
  for (const [text, part] of cases) {
    const { code, message } = await failure(() => parseCondition(text));
    assert.is(code, 'OPTION_INVALID', text);
    assert.ok(message.startsWith(`--fail-if ${JSON.stringify(text)}: expected `), message);
    assert.ok(message.includes(part), `${message}\n${part}`);
    assert.match(message, /A condition is STATISTIC > LIMIT/);
  }
});

test.run();
