/** What videos are decoded with, and Python's own readers of datasets, where they are there. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pythonVenv } from './pythonVenv.ts';

const folder = join(import.meta.dirname, '../dataset');

/** PyAV, h5py, pyarrow, and an ffmpeg of its own. */
export const datasetPython = () =>
  pythonVenv(
    'dataset-venv',
    join(folder, 'requirements.txt'),
    'import av, h5py, imageio_ffmpeg, pyarrow; from PIL import Image',
  );

/** ffmpeg on the PATH, else that of the Python environment; why there is none. */
export function findFfmpeg(): { readonly ffmpeg: string } | { readonly missing: string } {
  if (spawnSync('ffmpeg', ['-version']).status === 0) return { ffmpeg: 'ffmpeg' };
  const found = datasetPython();
  if ('missing' in found)
    return { missing: `ffmpeg is not there (apt-get install -y ffmpeg); ${found.missing}` };
  const { stdout } = spawnSync(
    found.python,
    ['-c', 'import imageio_ffmpeg as f; print(f.get_ffmpeg_exe())'],
    {
      encoding: 'utf8',
    },
  );
  return { ffmpeg: stdout.trim() };
}
