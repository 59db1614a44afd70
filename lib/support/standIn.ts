/** Recognizes, by the first bytes, what a failed download leaves instead of a file, and names files of other kinds. */

export interface StandIn {
  /** After "found". */
  readonly found: string;
  /** What to do about it, as a sentence. */
  readonly next: string;
}

const again = 'Download the file again.';

/** A stand-in for the file: nothing that any reader accepts begins like this. null: a real file. */
export function standIn(start: Uint8Array): StandIn | null {
  if (start.length === 0) {
    return { found: 'an empty file (truncated, or a download that did not begin)', next: again };
  }
  if (start.every((byte) => byte === 0)) {
    return {
      found: 'only zeros: room that a download reserved and did not fill, or what a power cut left',
      next: again,
    };
  }
  const text = Buffer.from(start.buffer, start.byteOffset, start.length).toString('latin1');
  // the byte order mark, as latin1
  const trimmed = text.replace(/^\u00ef\u00bb\u00bf/, '').trimStart();
  if (/^version https:\/\/(git-lfs\.github\.com|hawser\.github\.com)\/spec\//.test(trimmed)) {
    const size = /^size (\d+)$/m.exec(trimmed)?.[1];
    return {
      found: `a Git LFS pointer${size === undefined ? '' : ` to ${size} bytes`}, not the content`,
      next: 'Fetch it with: git lfs install && git lfs pull',
    };
  }
  if (/^(\.\.\/)*\.git\/annex\/objects\/|^\/annex\/objects\//.test(trimmed)) {
    return { found: 'a git-annex pointer, not the content', next: 'Fetch it with: git annex get' };
  }
  if (/^<(!doctype\s+html|html|head|body)\b/i.test(trimmed)) {
    return {
      found: 'a web page (HTML): a page about the file, a login or an error',
      next: 'Download the file itself: at a hub the address with /resolve/, not /blob/, and a token where it is gated.',
    };
  }
  // an SVG is a real file, though not the one that was wanted
  if (/^<\?xml\b|^<error>/i.test(trimmed) && !/<svg[\s>]/i.test(trimmed)) {
    return { found: 'XML, as storage services answer errors', next: again };
  }
  const refusal =
    /^(entry not found|not found|invalid (username|credentials)|unauthorized|access denied|forbidden|access to (model|dataset)|repository not found|404: not found|too many requests)/i.exec(
      trimmed,
    );
  if (refusal !== null) {
    return {
      found: `a server's refusal (${JSON.stringify(trimmed.split('\n', 1)[0]!.slice(0, 60))})`,
      next: 'Check the name and the right to read it, then download the file again.',
    };
  }
  return null;
}

const magics: readonly (readonly [string, string])[] = [
  ['504b0304', 'a ZIP archive, as torch.save writes'],
  ['8002', 'a pickle, as torch.save before 1.6 wrote'],
  ['8003', 'a pickle'],
  ['8004', 'a pickle'],
  ['47475546', 'GGUF (quantized weights of llama.cpp)'],
  ['67676a74', 'GGJT (quantized weights of llama.cpp)'],
  ['894844460d0a1a0a', 'HDF5'],
  ['934e554d5059', 'a NumPy array (.npy)'],
  ['1f8b', 'data compressed with gzip'],
  ['fd377a585a00', 'data compressed with xz'],
  ['28b52ffd', 'data compressed with zstd'],
  ['425a68', 'data compressed with bzip2'],
  ['377abcaf271c', 'a 7z archive'],
  ['526172211a07', 'a RAR archive'],
  ['89504e470d0a1a0a', 'a PNG image'],
  ['ffd8ff', 'a JPEG image'],
  ['7f454c46', 'a program (ELF)'],
];

/** Names a file of another kind by its bytes, in words that follow "found"; null if it is not recognized. */
export function foreignKind(start: Uint8Array): string | null {
  const hex = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, 16)).toString('hex');
  const known = magics.find(([magic]) => hex.startsWith(magic));
  if (known !== undefined) return known[1];
  if (isSafetensors(start)) return 'a safetensors file';
  if (start[0] === 0x7b || start[0] === 0x5b) return 'text that looks like JSON';
  const isText = start.length > 0 && start.every((byte) => byte >= 0x20 || (byte >= 9 && byte <= 13));
  return isText ? 'text' : null;
}

/** An eight-byte length below the format's cap, then the brace of the header. */
function isSafetensors(start: Uint8Array): boolean {
  return start.length > 8 && start[8] === 0x7b && start.subarray(4, 8).every((byte) => byte === 0);
}
