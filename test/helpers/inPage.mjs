/** Runs in a page, not in Node: read as text, since a transpiler's helpers are not there. Boxes of what the plots draw. */

function box(element) {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left, top, right, bottom };
}

/** Every figure by its id; a turned text's box is that of its turned outline. */
export function figures() {
  return [...document.querySelectorAll('figure')].map((figure) => {
    const svg = figure.querySelector('svg');
    const marks = [...svg.querySelectorAll('[class*="role-mark"]')].flatMap((group) =>
      [...group.children]
        .filter(({ tagName }) => ['path', 'line', 'rect'].includes(tagName))
        .map((element) => ({ ...box(element), kind: group.getAttribute('class').split(' ')[0] })),
    );
    const texts = [...svg.querySelectorAll('text')]
      .filter(({ textContent }) => textContent.trim() !== '')
      .filter((element) => getComputedStyle(element).opacity !== '0')
      .map((element) => ({
        ...box(element),
        text: element.textContent,
        color: getComputedStyle(element).fill,
      }));
    return {
      id: figure.id,
      svg: box(svg),
      marks,
      texts,
      background: getComputedStyle(figure).backgroundColor,
      breakInside: getComputedStyle(figure).breakInside,
    };
  });
}

/** Widths, colours and the order of a page; the tables that are wider than their place. */
export function layout() {
  const { scrollWidth, clientWidth } = document.documentElement;
  const { backgroundColor, color } = getComputedStyle(document.body);
  const tops = ['.warnings', '#summary', '#machine', 'figure']
    .map((selector) => document.querySelector(selector))
    .filter((element) => element !== null)
    .map((element) => element.getBoundingClientRect().top);
  const tables = [...document.querySelectorAll('.table')]
    .filter((table) => table.scrollWidth > table.clientWidth)
    .map((table) => table.textContent.slice(0, 60));
  return { scrollWidth, clientWidth, backgroundColor, color, tops, scrolledTables: tables };
}
