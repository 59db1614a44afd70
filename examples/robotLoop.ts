/**
 * The least a robot needs: an engine in a process of its own, checked observations, a loop at the robot's rate.
 *
 *   node --import tsx examples/robotLoop.ts CHECKPOINT UNNORM_KEY [ACTIONS]
 */

import { asynchronous, observationGuard, startControlLoop, superviseEngine } from 'semanticvla';
import { FakeRobot } from './fakeRobot.ts';
import { usage } from './usage.ts';

const [checkpoint, unnormKey, actions = '200'] = process.argv.slice(2);
if (!checkpoint || !unnormKey) usage('robotLoop.ts CHECKPOINT UNNORM_KEY [ACTIONS]');
await using policy = await superviseEngine({
  engine: { checkpoint, options: { unnormKey } },
  deadlineMs: 10_000,
});
const isAloha = policy.platform.name === 'aloha';
const robot = new FakeRobot(policy.platform.cameras, isAloha ? 14 : 8, isAloha ? 'position' : 'delta');
const guard = observationGuard({ cameras: policy.platform.cameras });
const scheduler = asynchronous(policy);
policy.listen((event) => event.kind === 'lost' && scheduler.reset()); // no engine: hold from the next tick on
await using loop = startControlLoop({
  scheduler,
  rate: 20,
  maxAge: 1000,
  instruction: 'pick up the black bowl and place it on the plate',
  observe: () => {
    const seen = robot.look();
    guard.check(seen.observation, seen.at);
    return seen;
  },
  act: ({ values }) => robot.move(values),
});
await Promise.race([robot.moved(Number(actions)), loop.done]);
await loop.stop();
console.log(JSON.stringify({ loop: loop.counters, schedule: scheduler.counters, engine: policy.counters }));
