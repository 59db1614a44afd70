/**
 * Frames of MP4 videos, decoded by the user's own ffmpeg in one process per video: the same decoders and RGB conversion as in
 * LeRobot's own readers (PyAV and torchcodec use the same libraries), and nothing to install on a robot. Frames come through a
 * pipe, so decoding stops when the pipe is full.
 */

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import type { Readable } from 'node:stream';
import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular } from '../support/fileAccess.ts';
import { checkFrameSize } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';

/** A request for frames of one episode in one file. */
export interface VideoRequest {
  readonly file: string;
  /** Seconds from the beginning of the file to that of the episode. */
  readonly from: number;
  /** Whether other episodes follow; otherwise the file must end with this one. */
  readonly isShared: boolean;
  /** Time of each row of the episode, in seconds from its beginning. */
  readonly times: readonly number[];
  /** Frames per second. */
  readonly rate: number;
  /** The rows whose frames are wanted, ascending. */
  readonly steps: readonly number[];
  readonly signal?: AbortSignal;
}

/** Lines of ffmpeg kept for its error. */
const keptLines = 4;
/** Longest header of a PPM frame: `P6`, two sizes, 255. */
const headBytes = 32;

/**
 * The frames of `steps`, in order.
 *
 * @throws (rejects) PACKAGE_UNAVAILABLE without ffmpeg; DATASET_INVALID if the file does not decode, or does not have one frame
 *   per row at the rows' times
 */
export async function* videoFrames(request: VideoRequest): AsyncGenerator<ImageFrame, void, undefined> {
  const { file, signal } = request;
  const { path, keepsAll } = findFfmpeg(file);
  await (await openRegular(file, { missing: 'DATASET_INVALID' })).handle.close();
  const child = spawn(path, argumentsOf(request, keepsAll), { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = new FrameLog(request);
  const ended = endOf(child, log);
  const stop = whenAborted(signal, () => child.kill('SIGKILL'));
  try {
    const wanted = new Set(request.steps);
    let row = 0;
    for await (const frame of ppmFrames(child.stdout, file)) {
      if (row < request.times.length && wanted.has(row)) yield frame;
      row++;
    }
    signal?.throwIfAborted();
    await ended;
    log.check(row);
  } finally {
    stop();
    child.kill('SIGKILL');
    await ended.catch(() => {});
  }
}

function argumentsOf(
  { file, from, isShared, times, rate }: VideoRequest,
  keepsAll: readonly string[],
): string[] {
  // half a frame early, so that rounding loses none
  const start = Math.max(0, from - 0.5 / rate);
  const range = isShared ? ['-ss', start.toFixed(6), '-t', (times.length / rate).toFixed(6)] : [];
  return [
    ...['-hide_banner', '-nostdin', '-nostats', '-xerror', '-noautorotate', ...range, '-i', `file:${file}`],
    // showinfo logs the time of each frame
    ...['-map', '0:v:0', '-vf', 'showinfo', ...keepsAll, '-sws_flags', 'bilinear', '-pix_fmt', 'rgb24'],
    ...['-c:v', 'ppm', '-f', 'image2pipe', 'pipe:1'],
  ];
}

/** Interprets what ffmpeg writes to standard error: the time of each frame, and why it failed. */
class FrameLog {
  readonly #request: VideoRequest;
  readonly #lines: string[] = [];
  #rest = '';
  #count = 0;
  #wrong: string | null = null;

  constructor(request: VideoRequest) {
    this.#request = request;
  }

  add(text: string): void {
    const lines = (this.#rest + text).split(/[\r\n]+/);
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(line);
  }

  get last(): string {
    return this.#lines.join('; ') || 'nothing';
  }

  #take(line: string): void {
    const found = /^\[Parsed_showinfo.*\bn: *(\d+) .*\bpts_time:([\d.+-]+)/.exec(line);
    if (found === null) {
      if (line.startsWith('[Parsed_showinfo') || line.trim() === '') return;
      this.#lines.push(line.trim());
      if (this.#lines.length > keptLines) this.#lines.shift();
      return;
    }
    const { times, rate, from, isShared } = this.#request;
    const row = this.#count++;
    // with -ss times are counted from there
    const start = isShared ? Math.max(0, from - 0.5 / rate) : 0;
    const time = Number(found[2]) + start - from;
    const wanted = times[row];
    if (this.#wrong !== null || wanted === undefined || Math.abs(time - wanted) < 0.5 / rate) return;
    this.#wrong = `frame ${row} at ${time.toFixed(4)} s, where its row is at ${wanted.toFixed(4)} s`;
  }

  /** @throws DATASET_INVALID */
  check(frames: number): void {
    const { file, times, rate } = this.#request;
    const found = frames === times.length ? this.#wrong : `${frames} frame${frames === 1 ? '' : 's'}`;
    if (found === null) return;
    throw new SemanticVlaError(
      'DATASET_INVALID',
      `${file}: expected a frame for each of the ${times.length} rows of the episode, ${rate} a second, found ${found}. ` +
        'The file is cut off or another recording: copy or convert it again, or leave the episode out with the option episodes.',
    );
  }
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

function endOf(child: Child, log: FrameLog): Promise<void> {
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => log.add(text));
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve();
      else
        reject(
          new SemanticVlaError(
            'DATASET_INVALID',
            `${child.spawnargs.find((argument) => argument.startsWith('file:'))?.slice(5)}: expected a video that decodes, found (ffmpeg) ${log.last}. ` +
              'Copy or download the file again.',
          ),
        );
    });
  });
  // awaited later, or not at all
  ended.catch(() => {});
  return ended;
}

/** Frames in binary PPM, each with its own size. */
async function* ppmFrames(stream: Readable, file: string): AsyncGenerator<ImageFrame, void, undefined> {
  let parts: Buffer[] = [];
  let have = 0;
  // bytes that the next step needs
  let need = headBytes;
  let frame: { readonly width: number; readonly height: number } | null = null;
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part);
    have += part.length;
    while (have >= need) {
      const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      if (frame === null) {
        const head = /^P6\s(\d+)\s(\d+)\s255\s/.exec(bytes.toString('latin1', 0, headBytes));
        if (head === null) throw new Error(`${file}: ffmpeg wrote something else than PPM frames`);
        frame = { width: Number(head[1]), height: Number(head[2]) };
        checkFrameSize(frame.width, frame.height, file);
        parts = [bytes.subarray(head[0].length)];
        need = frame.width * frame.height * 3;
      } else {
        yield { ...frame, data: new Uint8Array(bytes.subarray(0, need)) };
        parts = [bytes.subarray(need)];
        frame = null;
        need = headBytes;
      }
      have = parts[0]!.length;
    }
  }
}

interface Ffmpeg {
  readonly path: string;
  /** The flag that keeps every frame as it is: -vsync until 5.0, -fps_mode since. */
  readonly keepsAll: readonly string[];
}

const found = new Map<string, Ffmpeg>();

/** @throws PACKAGE_UNAVAILABLE */
function findFfmpeg(file: string): Ffmpeg {
  const path = process.env.SEMANTICVLA_FFMPEG || 'ffmpeg';
  const known = found.get(path);
  if (known !== undefined) return known;
  const { status, stdout, error } = spawnSync(path, ['-hide_banner', '-version'], { encoding: 'utf8' });
  if (status !== 0) {
    throw new SemanticVlaError(
      'PACKAGE_UNAVAILABLE',
      `${file}: expected the program ffmpeg, which decodes videos, found ${error?.message ?? `that ${path} ends with code ${status}`}. ` +
        'Install it (Debian, Ubuntu, Jetson: `apt-get install -y ffmpeg`), or set SEMANTICVLA_FFMPEG to its path.',
    );
  }
  const [, major, minor = '0'] = /^ffmpeg version n?(\d+)\.(\d+)/.exec(stdout) ?? [];
  // daily builds have no number and are newer
  const isOld = major !== undefined && (Number(major) < 5 || (Number(major) === 5 && Number(minor) < 1));
  const ffmpeg = { path, keepsAll: [isOld ? '-vsync' : '-fps_mode', 'passthrough'] };
  found.set(path, ffmpeg);
  return ffmpeg;
}
