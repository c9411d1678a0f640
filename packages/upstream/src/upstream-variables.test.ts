import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeVariables } from '@zerda/chassis/config/load-config';
import { z } from 'zod';
import { upstreamUrl, upstreamVariables } from './upstream-variables.ts';

it('has a description that ends with a period for every variable', () => {
  const variables = z.object({
    ...upstreamVariables(),
    USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
  });
  for (const { name, description } of describeVariables(variables)) assert.match(description, /\.$/, name);
});
