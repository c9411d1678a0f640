import type { ServiceContract } from '../service-contract.ts';
import { type OpenApiDocument, openApiDocument } from './document.ts';

/** Version of the APIs; an incompatible change increments the major version. */
export const apiVersion = '1.0.0';

/** Returns the OpenAPI document of a service that is reached through the gateway. */
export function documentOf({ name, description, tags, operations }: ServiceContract): OpenApiDocument {
  return openApiDocument({
    title: `zerda ${name}`,
    description,
    version: apiVersion,
    tags,
    operations: Object.values(operations),
  });
}
