/**
 * TensorRT's engine inspector: `{"Layers": [{"Name", "LayerType", "Metadata", ...}], "Bindings": [...]}`. Of plans that were
 * built without detail a layer is only its name.
 */

import { SemanticVlaError } from '../../support/errors.ts';

export interface InspectedLayer {
  /** TensorRT's layer type; empty where it is not given. */
  readonly kind: string;
  /** `[ONNX Layer: ...]`, one for each node; empty where it is not given. */
  readonly metadata: string;
}

export interface InspectedPlan {
  readonly layers: ReadonlyMap<string, InspectedLayer>;
  /** The inspector's whole output, for tools that read trtexec's layer info. */
  readonly info: object;
}

/** @throws PROFILE_INVALID */
export function parseInspector(text: string, label: string): InspectedPlan {
  let info: unknown;
  try {
    info = JSON.parse(text);
  } catch (cause) {
    throw invalid(label, (cause as Error).message);
  }
  if (typeof info !== 'object' || info === null || !('Layers' in info) || !Array.isArray(info.Layers)) {
    throw invalid(label, text.slice(0, 100));
  }
  const layers = new Map<string, InspectedLayer>();
  for (const layer of info.Layers as unknown[]) {
    if (typeof layer === 'string') layers.set(layer, { kind: '', metadata: '' });
    if (typeof layer !== 'object' || layer === null) continue;
    const { Name, LayerType, Metadata } = layer as Record<string, unknown>;
    if (typeof Name === 'string') layers.set(Name, { kind: word(LayerType), metadata: word(Metadata) });
  }
  return { layers, info };
}

function word(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function invalid(label: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'PROFILE_INVALID',
    `${label}: expected the JSON of TensorRT's engine inspector with a list Layers, found ${found}. ` +
      'Build the engines again with this version: semanticvla build CHECKPOINT --rebuild.',
  );
}
