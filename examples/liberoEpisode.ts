/**
 * A LIBERO-style episode on recorded observations: whole chunks in open loop, as the reference evaluates. Each folder is
 * what the cameras and joints showed when a chunk was due; without a simulator the next folder follows whatever was done.
 *
 *   node --import tsx examples/liberoEpisode.ts CHECKPOINT UNNORM_KEY INSTRUCTION OBSERVATION_FOLDER...
 *
 * Prints one action a line, as LIBERO's `env.step` takes it: x y z roll pitch yaw gripper (-1 open, 1 closed).
 */

import { guardPolicy, liberoGripper, loadPolicy, openLoop, readObservation } from 'semanticvla';
import { usage } from './usage.ts';

const [checkpoint, unnormKey, instruction, ...folders] = process.argv.slice(2);
if (!checkpoint || !unnormKey || !instruction || folders.length === 0)
  usage('liberoEpisode.ts CHECKPOINT UNNORM_KEY INSTRUCTION OBSERVATION_FOLDER...');
const recorded = await Promise.all(folders.map((folder) => readObservation(folder)));
await using policy = guardPolicy(await loadPolicy(checkpoint, { unnormKey, platform: 'libero' }));
const episode = openLoop(policy);
for (const { observation } of recorded) {
  for (let row = 0; row < policy.platform.chunk; row++) {
    const { actions } = await episode.predict(observation, { instruction });
    const step = [...actions.subarray(0, 6), liberoGripper(actions[6]!)];
    console.log(step.map((value) => value.toFixed(6)).join(' '));
  }
}
