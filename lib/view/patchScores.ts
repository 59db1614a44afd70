/** What the similarity map shows: one number per patch. */

/**
 * Mean cosine similarity of each patch over the text positions that are not masked.
 *
 * The ID-Pruner's own score is the mean over all positions, masked ones counting as -1 (docs/model.md, ID-Pruner). Those add the
 * same to every patch, so leaving them out keeps the order and leaves the scores readable as cosines.
 *
 * @param similarity [patches, positions] float32, masked columns -1
 * @param patches how many rows `similarity` has
 * @returns [patches] float32
 * @throws never
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
