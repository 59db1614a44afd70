/** What the similarity map shows: one number a patch. */

/**
 * Mean cosine similarity of each patch over the text positions that count.
 *
 * The ID-Pruner's own score is the mean over all positions with the masked ones at -1 (docs/model.md, ID-Pruner). Those add the
 * same to every patch, so leaving them out keeps the order and gives numbers that mean something: cosines.
 *
 * @param similarity [patches, positions], masked columns -1
 * @returns [patches]
 */
export function patchScores(similarity: Float32Array, patches: number): Float32Array {
  const positions = similarity.length / patches;
  const counted: number[] = [];
  for (let column = 0; column < positions; column++) {
    for (let patch = 0; patch < patches; patch++) {
      if (similarity[patch * positions + column] !== -1) {
        counted.push(column);
        break;
      }
    }
  }
  const scores = new Float32Array(patches);
  for (let patch = 0; patch < patches; patch++) {
    let sum = 0;
    for (const column of counted) sum += similarity[patch * positions + column]!;
    scores[patch] = counted.length === 0 ? 0 : sum / counted.length;
  }
  return scores;
}
