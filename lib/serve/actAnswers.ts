/** What `POST /act` can answer. */

/** In which form actions are answered: the reference's C arrays; plain lists; the first action alone; lists in an object. */
export const actAnswers = ['rows', 'lists', 'action', 'object'] as const;
export type ActAnswer = (typeof actAnswers)[number];
