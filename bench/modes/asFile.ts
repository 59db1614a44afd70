/** A picture of a page as a file of its own, for readers without the page's style: light colours, on paper. */

import { color, inLightColors } from '../../lib/plots/palette.ts';

export function asFile(svg: string): string {
  const paper = `<rect width="100%" height="100%" fill="${color.paper}"/>`;
  return `${inLightColors(svg.replace('</desc>', (end) => end + paper))}\n`;
}
