// A builder to be killed: builds one plan again and again, printing a line before each, with writes that take their time.
// Arguments: cache folder, bytes of a plan.

import { open } from 'node:fs/promises';
import { EngineCache } from '../../dist/engine/engineCache.js';

const [dir, size] = process.argv.slice(2);
const slowly = async (path, parts) => {
  const bytes = Buffer.concat([...parts]);
  const handle = await open(path, 'wx', 0o600);
  for (let at = 0; at < bytes.length; at += 4096) {
    await handle.write(bytes, at, Math.min(4096, bytes.length - at), at);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await handle.sync();
  await handle.close();
};

const identity = JSON.parse(process.env.TEST_IDENTITY);
const cache = await EngineCache.open({ dir, write: slowly });
for (let n = 0; ; n++) {
  process.stdout.write('building\n');
  const { plan } = await cache.getOrBuild(
    'policy',
    identity,
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 3));
      return { plan: new Uint8Array(Number(size)).fill((process.pid + n) & 255), seconds: 0 };
    },
    { rebuild: true },
  );
  await plan.close();
}
