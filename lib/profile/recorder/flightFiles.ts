/** Files of a flight recorder: complete or absent, and never more than a limit. */

import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFile } from '../../support/fileHandles.ts';
import { makeFolder } from '../../support/makeFolder.ts';

export type FlightFormat = 'perfetto-trace' | 'mcap';

const ownName = /^flight-\d{4}-\d\d-\d\dT[\d-]+\.\d{3}Z-[\w-]+\.(?<format>perfetto-trace|mcap)$/;

/** `flight-2026-11-22T18-51-12.345Z-hold.perfetto-trace`: names in order are times in order. */
export function flightName(at: Date, why: string, format: FlightFormat): string {
  return `flight-${at.toISOString().replaceAll(':', '-')}-${why.replace(/\W+/g, '-')}.${format}`;
}

/**
 * Writes under another name first, so that what has the name is whole even when the disk is full or the power fails; then
 * removes the oldest files beyond `limit`, of this recorder's own names and of this format only.
 * @returns the file's path
 * @throws (rejects) what the system says (`ENOSPC`, `EACCES`); nothing is left behind then
 */
export async function writeFlight(
  dir: string,
  name: string,
  bytes: Uint8Array,
  limit: number,
): Promise<string> {
  await makeFolder(dir, 0o700);
  const temporary = join(dir, `.${name}.${process.pid}`);
  let handle: FileHandle | null = null;
  try {
    handle = await open(temporary, 'wx', 0o600);
    await handle.writeFile(bytes);
    await syncFile(handle);
    await handle.close();
    handle = null;
    await rename(temporary, join(dir, name));
  } catch (error) {
    await handle?.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  const formatOf = (entry: string): string | undefined => ownName.exec(entry)?.groups?.format;
  const own = (await readdir(dir)).filter((entry) => formatOf(entry) === formatOf(name)).sort();
  await Promise.all(
    own.slice(0, Math.max(0, own.length - limit)).map((entry) => rm(join(dir, entry), { force: true })),
  );
  return join(dir, name);
}
