/** What `POST /act` can answer. */

/** In which form actions are answered: the reference's C arrays; plain lists; the first action alone; lists in an object. */
export const actAnswers = ['rows', 'lists', 'action', 'object'] as const;
/** The form of the actions that `POST /act` answers. */
export type ActAnswer = (typeof actAnswers)[number];
