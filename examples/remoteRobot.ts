/**
 * The policy on another machine: the same loop as robotLoop.ts, over a connection that may break. Start a server there:
 * `semanticvla serve CHECKPOINT`.
 *
 *   node --import tsx examples/remoteRobot.ts ws://HOST:8000 [ACTIONS]
 */

import {
  type ActionScheduler,
  asynchronous,
  connectOpenpi,
  observationGuard,
  startControlLoop,
} from 'semanticvla';
import { FakeRobot } from './fakeRobot.ts';
import { usage } from './usage.ts';

const [url, actions = '200'] = process.argv.slice(2);
if (!url) usage('remoteRobot.ts ws://HOST:8000 [ACTIONS]');
let scheduler: ActionScheduler | null = null;
await using policy = await connectOpenpi(url, {
  deadlineMs: 2000,
  onEvent: (event) => event.kind === 'hold' && scheduler?.reset(), // out of reach: hold from the next tick on
});
scheduler = asynchronous(policy);
const robot = new FakeRobot(policy.platform.cameras, 8);
const guard = observationGuard({ cameras: policy.platform.cameras });
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
console.log(JSON.stringify({ loop: loop.counters, schedule: scheduler.counters }));
