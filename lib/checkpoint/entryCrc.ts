/** The CRC of an archive's entry, checked while its bytes are read. */

import { crc32 } from 'node:zlib';
import { SemanticVlaError } from '../support/errors.ts';
import type { TensorView } from './tensorView.ts';
import type { TorchArchive } from './torchArchive.ts';

/** Checks the entry's CRC along the way, where a tensor is the whole of its entry (as torch saves state dicts). */
export class EntryCrc {
  readonly #expected: number | null;
  readonly #view: TensorView;
  #crc = 0;

  /** @param archive that holds `view`; null checks nothing */
  constructor(archive: TorchArchive | null, view: TensorView) {
    const entry = archive?.storages.get(view.offset);
    this.#expected = entry !== undefined && entry.size === view.byteLength ? entry.crc32 : null;
    this.#view = view;
  }

  update(bytes: Uint8Array): void {
    if (this.#expected !== null) this.#crc = crc32(bytes, this.#crc);
  }

  /** TORCH_ARCHIVE_INVALID when the bytes are not those that were saved. */
  finish(): void {
    if (this.#expected !== null && this.#crc !== this.#expected) {
      throw new SemanticVlaError(
        'TORCH_ARCHIVE_INVALID',
        `${this.#view.file}: ${this.#view.name}: the CRC of its data is wrong: the file is damaged. Copy it again.`,
      );
    }
  }
}
