import { z } from 'zod';
import { isWellFormed } from './protocol/values.ts';

/** Characters (Unicode code points) that a password has at least and at most (NIST SP 800-63B, section 3.1.1.2). */
export const passwordLength = { least: 8, most: 128 } as const;

/**
 * A password that somebody chooses: nothing is asked of it but its length here, and user-service refuses the commonest ones.
 * Normalised, for keyboards write one character in several ways.
 */
export const newPassword = z
  .string()
  .refine(isWellFormed, { error: 'must not contain half of a surrogate pair', abort: true })
  .refine(
    (text) => [...text].length >= passwordLength.least && [...text].length <= passwordLength.most,
    `must have ${passwordLength.least} to ${passwordLength.most} characters`,
  )
  .normalize('NFKC')
  .meta({ minLength: passwordLength.least, maxLength: passwordLength.most, format: 'password' });

/** A password that somebody gives: whether it is the right one is not seen from its form. */
export const givenPassword = z
  .string()
  .min(1)
  .max(1024)
  .refine(isWellFormed, 'must not contain half of a surrogate pair')
  .normalize('NFKC')
  .meta({ format: 'password' });
