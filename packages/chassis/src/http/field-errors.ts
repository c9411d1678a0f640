import type { FieldError } from '@zerda/contracts/problems';
import type { z } from 'zod';

/** Converts an issue of a schema to the members of a problem: one for each unknown member. */
export function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code !== 'unrecognized_keys') return [{ path: path.join('.'), message: issue.message }];
  return issue.keys.map((key) => ({
    path: [...path, key].join('.'),
    message: 'is not a known member',
  }));
}
