import { contracts } from '../services.ts';
import type { EventDefinition } from './definition.ts';

/** All event definitions. */
export const allEvents: readonly EventDefinition[] = contracts.flatMap(({ sends }) =>
  Object.values(sends?.events ?? {}),
);
