/**
 * Draws docs/images/rooms.svg: the rooms of lib/ on floors, each above all that it imports, an arrow for each import that
 * no longer path implies. Run it when a room, or an import between two, is new; test/rooms.test.ts compares.
 *
 *   node --import tsx scripts/map/drawRooms.ts
 */

import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { readRoomImports } from './roomImports.ts';

/** What a room is for, in the words of ARCHITECTURE.md. */
const purposes: Readonly<Record<string, string>> = {
  addon: 'the native frontier',
  checkpoint: 'folder to config and tensors',
  cli: 'one file a command',
  client: 'a policy behind a socket',
  dataset: 'recorded episodes',
  doctor: 'what this machine can run',
  engine: 'TensorRT plans, cached',
  evaluate: 'a policy beside a demonstrator',
  example: 'the policy that comes along',
  export: 'ONNX on disk, tried',
  graph: 'config to ONNX',
  hub: 'checkpoints by name',
  inspect: 'a checkpoint in numbers',
  machine: 'board, clocks, power',
  observation: 'frames and states from files',
  plots: 'drawing',
  policy: 'observation to chunk',
  profile: 'measuring',
  ros2: 'the ROS 2 node',
  runtime: 'sessions',
  schedule: 'chunk to actions, on time',
  serve: 'protocols',
  stages: 'intermediates on disk',
  supervise: 'engine in a child process',
  support: 'errors, options, small tools',
  synth: 'random checkpoints',
  transforms: 'images, prompts, actions',
  view: 'kept patches as a picture',
};

const box = { width: 176, height: 46, gapX: 22, gapY: 58, margin: 24 };

/** Runtime imports between folders, by room. */
function waysOf(lib: string): Map<string, Set<string>> {
  const ways = new Map<string, Set<string>>();
  const isRoom = (name: string): boolean => !name.endsWith('.ts');
  for (const { from, to, isTypes } of readRoomImports(lib)) {
    if (isRoom(from) && !ways.has(from)) ways.set(from, new Set());
    if (isTypes || from === to || !isRoom(from) || !isRoom(to)) continue;
    ways.get(from)!.add(to);
  }
  return ways;
}

function floorsOf(ways: Map<string, Set<string>>): Map<string, number> {
  const floors = new Map<string, number>();
  const floorOf = (room: string): number => {
    const known = floors.get(room);
    if (known !== undefined) return known;
    const floor = Math.max(-1, ...[...(ways.get(room) ?? [])].map(floorOf)) + 1;
    floors.set(room, floor);
    return floor;
  };
  for (const room of ways.keys()) floorOf(room);
  return floors;
}

/** Leaves out every arrow that a longer path implies. */
function reduced(ways: Map<string, Set<string>>): [from: string, to: string][] {
  const reach = (room: string): Set<string> => {
    const seen = new Set<string>();
    const visit = (next: string): void => {
      for (const to of ways.get(next) ?? []) {
        if (seen.has(to)) continue;
        seen.add(to);
        visit(to);
      }
    };
    visit(room);
    return seen;
  };
  return [...ways].flatMap(([from, targets]) =>
    [...targets]
      .filter((to) => ![...targets].some((other) => other !== to && reach(other).has(to)))
      .map((to): [string, string] => [from, to]),
  );
}

/** The picture, as SVG text; the same sources give the same text. */
export function drawRooms(lib: string): string {
  const ways = waysOf(lib);
  const floors = floorsOf(ways);
  const top = Math.max(...floors.values());
  const rows = Array.from({ length: top + 1 }, (_, floor) =>
    [...floors]
      .filter(([, at]) => at === floor)
      .map(([room]) => room)
      .sort(),
  );
  const widest = Math.max(...rows.map((row) => row.length));
  const width = box.margin * 2 + widest * box.width + (widest - 1) * box.gapX;
  const height = box.margin * 2 + rows.length * box.height + top * box.gapY;
  const places = new Map<string, { x: number; y: number }>();
  for (const [floor, row] of rows.entries()) {
    const used = row.length * box.width + (row.length - 1) * box.gapX;
    for (const [i, room] of row.entries()) {
      places.set(room, {
        x: (width - used) / 2 + i * (box.width + box.gapX),
        y: box.margin + (top - floor) * (box.height + box.gapY),
      });
    }
  }
  const arrows = reduced(ways).map(([from, to]) => {
    const a = places.get(from)!;
    const b = places.get(to)!;
    const [x1, y1] = [a.x + box.width / 2, a.y + box.height];
    const [x2, y2] = [b.x + box.width / 2, b.y];
    const bend = (y2 - y1) / 2;
    return `<path d="M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}"/>`;
  });
  const boxes = [...places].map(
    ([room, { x, y }]) =>
      `<g transform="translate(${x} ${y})"><rect width="${box.width}" height="${box.height}" rx="6"/>` +
      `<text x="${box.width / 2}" y="19" class="name">${room}</text>` +
      `<text x="${box.width / 2}" y="35">${purposes[room] ?? ''}</text></g>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    '<title>The rooms of lib/, each above all that it imports</title>',
    '<style>text{font:11px system-ui,sans-serif;text-anchor:middle;fill:#334}.name{font-weight:600;font-size:14px;fill:#112}' +
      'rect{fill:#f4f7fb;stroke:#7b8fa8}path{fill:none;stroke:#9db0c6;stroke-width:1.2;marker-end:url(#tip)}</style>',
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">' +
      '<path d="M0 0L8 4L0 8z" style="fill:#9db0c6;stroke:none"/></marker></defs>',
    '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
    ...arrows,
    ...boxes,
    '</svg>',
    '',
  ].join('\n');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const lib = fileURLToPath(new URL('../../lib', import.meta.url));
  writeFileSync(new URL('../../docs/images/rooms.svg', import.meta.url), drawRooms(lib));
}
