/**
 * `rclnodejs` is the module at the file URL of RCLNODEJS in this process: a fake, or a real one that is installed
 * elsewhere. Programs are tested as they are: `NODE_OPTIONS='--import .../rclnodejsHook.mjs'`.
 */

import { register } from 'node:module';

const source = `
  export const resolve = (name, context, next) => next(name === 'rclnodejs' ? process.env.RCLNODEJS : name, context);
`;
register(`data:text/javascript,${encodeURIComponent(source)}`);
