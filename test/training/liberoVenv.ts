/** The environment with LIBERO, which training/libero/setup.sh makes, and why a test of it is skipped. */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');

export const python = join(cache, 'semanticvla/libero-venv/bin/python');
const isThere = existsSync(python);
export const runs = isThere && process.env.SEMANTICVLA_LONG_TESTS === '1';
export const reason = isThere
  ? 'it takes a minute; SEMANTICVLA_LONG_TESTS=1 runs it'
  : 'there is no environment with LIBERO (2.2 GB); training/libero/setup.sh makes it';
