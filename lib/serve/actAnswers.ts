/** What `POST /act` can answer. */

/** The form of the actions that `POST /act` answers: the reference's C arrays; plain lists; the first action alone; lists in an object. */
export type ActAnswer = 'rows' | 'lists' | 'action' | 'object';
/** All of them. */
export const actAnswers: readonly ActAnswer[] = ['rows', 'lists', 'action', 'object'];
