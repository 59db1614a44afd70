/** The full-size libero and aloha engines (../helpers/fullSizeEngines.ts). */

import { suite } from 'uvu';
import { fullSizeTest } from '../helpers/fullSizeEngines.ts';

const fullSize = suite('engine/fullSizeEngines');

fullSizeTest(fullSize, 'libero');
fullSizeTest(fullSize, 'aloha');

fullSize.run();
