import { z } from 'zod';
import { isWellFormed } from '../protocol/values.ts';

/** Minimum and maximum length of a password in Unicode code points (NIST SP 800-63B, section 3.1.1.2). */
export const passwordLength = { min: 8, max: 128 } as const;

/**
 * A new password. The schema checks only the length; user-service also rejects common passwords.
 * Normalized to NFKC, because keyboards can encode the same character in several ways.
 */
export const newPassword = z
  .string()
  .refine(isWellFormed, { error: 'must not contain an unpaired surrogate', abort: true })
  .refine(
    (text) => [...text].length >= passwordLength.min && [...text].length <= passwordLength.max,
    `must have ${passwordLength.min} to ${passwordLength.max} characters`,
  )
  .normalize('NFKC')
  .meta({ minLength: passwordLength.min, maxLength: passwordLength.max, format: 'password' });

/** A password to verify. Any length up to 1,024 is accepted, so the form of the input reveals nothing about the stored password. */
export const existingPassword = z
  .string()
  .min(1)
  .max(1024)
  .refine(isWellFormed, 'must not contain an unpaired surrogate')
  .normalize('NFKC')
  .meta({ format: 'password' });
