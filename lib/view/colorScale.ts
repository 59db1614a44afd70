/** Colours of the similarity map: viridis, whose lightness rises evenly and which colour-blind people can read. */

const anchors = [
  [0x44, 0x01, 0x54],
  [0x48, 0x28, 0x78],
  [0x3e, 0x49, 0x89],
  [0x31, 0x68, 0x8e],
  [0x26, 0x82, 0x8e],
  [0x1f, 0x9e, 0x89],
  [0x35, 0xb7, 0x79],
  [0x6e, 0xce, 0x58],
  [0xb5, 0xde, 0x2b],
  [0xfd, 0xe7, 0x25],
] as const;

/** `#rrggbb` for a value in [0, 1]; values outside are clamped. */
export function scaleColor(value: number): string {
  const place = Math.min(1, Math.max(0, value)) * (anchors.length - 1);
  const below = Math.min(Math.floor(place), anchors.length - 2);
  const from = anchors[below]!;
  const to = anchors[below + 1]!;
  const channels = from.map((channel, i) => Math.round(channel + (to[i]! - channel) * (place - below)));
  return `#${channels.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}
