/** The pages of docs/ on the site: named by their headings, in the order in which one needs them. */

import { Converter } from 'typedoc';

const order = [
  ...[
    'installing',
    'jetson',
    'containers',
    'figures',
    'checkpoints',
    'heads',
    'observations',
    'serving',
    'live',
  ],
  ...['ros2', 'safety', 'choosingAMode', 'normalization', 'profiling', 'cpuThreads', 'precision'],
  ...['weightRounding', 'evaluate', 'libero', 'training', 'model', 'devicePath', 'kernelsPerLayer'],
  ...['files', 'dependencies'],
];

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const [first] = document.content;
    const heading = /^# (.+)\n+/.exec(first?.text ?? '');
    if (heading === null) return;
    document.frontmatter.file = document.name.split('/').at(-1);
    document.name = heading[1].replaceAll('`', '');
    // the page shows its name as its heading
    first.text = first.text.slice(heading[0].length);
  });
  const place = (reflection) => {
    if (!reflection.isDocument()) return order.length + 1;
    const at = order.indexOf(reflection.frontmatter.file);
    return at < 0 ? order.length : at;
  };
  // after typedoc has put everything into its own order
  app.converter.on(Converter.EVENT_END, ({ project }) => {
    for (const list of [project.documents, project.childrenIncludingDocuments])
      list?.sort((a, b) => place(a) - place(b));
  });
}
