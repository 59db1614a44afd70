/** The full-size lite and oft engines (../helpers/fullSizeEngines.ts). */

import { suite } from 'uvu';
import { fullSizeTest } from '../helpers/fullSizeEngines.ts';

const fullSize = suite('engine/fullSizeVariants');

fullSizeTest(fullSize, 'lite');
fullSizeTest(fullSize, 'oft');

fullSize.run();
