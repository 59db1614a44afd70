/** Which TensorRT serves a card: told before anything of a gigabyte is fetched. */

/** What TensorRT-RTX 1.0 to 1.7 builds for, by its headers' enumeration and support matrices: no Hopper, no Jetson. */
const rtx: readonly number[] = [75, 80, 86, 89, 120, 121];

/** @param capability of the card (90); null: unknown */
export function servesRtx(capability: number | null): boolean {
  return capability !== null && rtx.includes(capability);
}

/** What to run for a card without TensorRT, or a sentence that says what to get. */
export function tensorRtFor(capability: number | null): { script: string } | { sentence: string } {
  if (servesRtx(capability)) return { script: 'scripts/fetchTensorRtRtx.sh' };
  if (capability === null) {
    return {
      sentence:
        'the card does not tell its compute capability (nvidia-smi --query-gpu=compute_cap): nothing is fetched; name a TensorRT with SEMANTICVLA_TENSORRT',
    };
  }
  if (capability === 87 || capability === 110) {
    return {
      sentence: `sm_${capability} is a Jetson, which TensorRT-RTX does not build for: sudo apt-get install -y nvidia-jetpack`,
    };
  }
  return {
    sentence: `sm_${capability} is none of TensorRT-RTX's (sm_${rtx.join(', ')}): get TensorRT 10.3 or newer with its builder resource for this card, from NVIDIA's apt repository (libnvinfer10, libnvonnxparsers10) or archive, and name its folder with SEMANTICVLA_TENSORRT`,
  };
}

/** `9.0` of nvidia-smi, or the model of a Jetson, as 90; null: neither tells. */
export function capabilityOf(computeCap: string | null, jetson: string | null): number | null {
  const parts = /^(\d+)\.(\d)$/m.exec(computeCap?.trim() ?? '');
  if (parts !== null) return 10 * Number(parts[1]) + Number(parts[2]);
  if (jetson === null) return null;
  return /Orin/.test(jetson) ? 87 : /Thor/.test(jetson) ? 110 : null;
}
