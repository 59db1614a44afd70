/**
 * A stand-in for the package rclnodejs with a robot behind it, for programs that import the package by name: parameters
 * come from `--params-file`, sensors publish at 20 Hz, and after `FAKE_TRAJECTORIES` commands the program is asked to
 * end, as a terminal would. `shutdown` prints what was heard as one line of JSON.
 */

import type { RosModule, RosTrajectory } from '../../lib/ros2/rosInterface.ts';
import { FakeRos } from './fakeRos.ts';
import { parametersOf } from './parameterFile.ts';

const file = process.argv[process.argv.indexOf('--params-file') + 1]!;
const given = parametersOf(file);
const ros = new FakeRos(given);
const side = 224;

function image(shade: number, shot: number) {
  const data = Uint8Array.from(
    { length: side * side * 3 },
    (_, i) => shade + ((i * (shade === 20 ? 7 : 11) + shot * 13) % 100),
  );
  return {
    header: { stamp: { sec: shot, nanosec: 0 }, frame_id: '' },
    width: side,
    height: side,
    encoding: 'rgb8',
    is_bigendian: 0,
    step: side * 3,
    data,
  };
}

const [full, wrist] = given.image_topics as string[];
const enough = Number(process.env.FAKE_TRAJECTORIES);
let shot = 0;
const robot = setInterval(() => {
  // a program that never gets there is ended too
  if (ros.published.length >= enough || shot > 1000) {
    clearInterval(robot);
    process.kill(process.pid, 'SIGTERM');
    return;
  }
  shot++;
  ros.send(full!, image(20, shot), 2);
  ros.send(wrist!, image(90, shot), 2);
  ros.send(String(given.state_topic), { data: Float64Array.from({ length: 8 }, (_, i) => i / 10) });
  if (shot % 10 === 1) ros.send('/semanticvla/instruction', { data: 'pick up the black bowl' });
}, 50);

const module: RosModule = {
  ...ros.module(),
  shutdown: () => {
    const moved = ros.published.filter(({ message }) =>
      (message as RosTrajectory).points[0]!.positions.slice(0, 6).some((value) => value !== 0),
    );
    const last = ros.published.at(-1)?.message as RosTrajectory | undefined;
    console.log(
      JSON.stringify({
        trajectories: ros.published.length,
        moved: moved.length,
        topics: [...new Set(ros.published.map(({ topic }) => topic))],
        names: last?.joint_names ?? [],
        undeclared: Object.keys(given).filter((name) => !ros.declared.has(name)),
        destroyed: ros.destroyed,
        logs: ros.logs,
      }),
    );
  },
};

// the package's one export, as programs import it
// biome-ignore lint/style/noDefaultExport: rclnodejs is imported as a default
export default module;
