/** The image library, loaded when a file is decoded or a picture drawn: a policy fed with raw frames works without it. */

import type sharp from 'sharp';
import { checkPackages, loadPackages } from './optionalPackage.ts';

/** @param what is to be drawn @throws PACKAGE_UNAVAILABLE */
export const checkSharp = (what: string): void => checkPackages(what, { names: ['sharp'] });

/**
 * @param what is to be drawn or decoded
 * @param instead what to do without it, as the end of a sentence
 * @throws (rejects) PACKAGE_UNAVAILABLE
 */
export async function loadSharp(what: string, instead?: string): Promise<typeof sharp> {
  const optional = { names: ['sharp'], ...(instead === undefined ? {} : { instead }) };
  return (await loadPackages(what, optional, () => import('sharp'))).default;
}
