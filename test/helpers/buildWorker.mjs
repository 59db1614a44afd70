/** A worker that starts a build through the addon alone and says when it is under way. */

import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const { addon, request } = workerData;
const { name: _, onnx, path, ...rest } = request;
let told = false;
createRequire(import.meta.url)(addon).buildEngine(
  {
    ...rest,
    model: onnx,
    modelPath: path,
    targets: [89],
    optimizationLevel: -1,
    workspaceBytes: 0,
    timingCache: new Uint8Array(),
  },
  () => {
    if (!told) parentPort.postMessage('building');
    told = true;
  },
);
