/** The picture of a trained policy highlights the object named in the sentence. */

import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { preprocessImages } from '../../lib/transforms/image.ts';
import { drawPrediction } from '../../lib/view/drawPrediction.ts';
import { libero, placeInGrid } from '../helpers/trained.ts';

const test = suite('the picture of the trained policy');

const left = 28;
const panel = 448;

test('the named cube is bright, the corners are darkened', async () => {
  await using policy = await libero.open();
  const { imageSize, patchGrid } = policy;
  // the first of each family of sentences, before the gripper covers anything
  for (const sample of libero.samples.filter(({ step }) => step === 0).slice(0, 3)) {
    const observation = await libero.observation(sample);
    const chunk = await policy.predict(observation, { instruction: sample.instruction });
    const png = await drawPrediction({ policy, observation, chunk, threads: 1 });
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    const picture = (x: number, y: number): number =>
      Math.max(...data.subarray((y * info.width + x) * info.channels).subarray(0, 3));
    // below the texts, at the right edge of the panel, where the first frame begins
    const right = Array.from({ length: 20 }, (_, i) => left + panel - 2 - i);
    const rows = Array.from({ length: info.height }, (_, y) => y);
    const top = rows.find((y) => y > 60 && right.every((x) => picture(x, y) < 200))!;

    const { centerCrop, jpeg } = policy.platform;
    const full = observation.images.full_image!;
    const frame = await preprocessImages([full], { imageSize, centerCrop, jpeg, threads: 1 });
    /** Of the picture, as a share of what the camera saw there. */
    const light = (x: number, y: number): number => {
      const [column, row] = [x, y].map((at) => Math.floor((at / patchGrid) * imageSize)) as [number, number];
      const seen = Math.max(...frame.subarray((row * imageSize + column) * 3).subarray(0, 3));
      const [px, py] = [x, y].map((at) => Math.round((at / patchGrid) * panel)) as [number, number];
      return picture(left + px, top + py) / seen;
    };
    const [x, y] = placeInGrid(sample.target.full_image!, patchGrid);
    // enlarging smooths the edges of a cube that is ten pixels wide; a dropped patch keeps 42 % of its light
    assert.ok(
      light(x, y) > 0.8,
      `scene ${sample.seed}: the ${sample.instruction} has ${light(x, y)} of its light`,
    );
    for (const [cx, cy] of [
      [0.5, 7.5],
      [7.5, 7.5],
    ] as const) {
      assert.ok(light(cx, cy) < 0.6, `scene ${sample.seed}: the corner ${cx}, ${cy} has ${light(cx, cy)}`);
    }
  }
});

test.run();
