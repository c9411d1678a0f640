import { it } from 'node:test';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { assertConstraintsMapped } from '@zerda/chassis/database/testing-constraints';
import { migrations } from '../testing.ts';
import { constraints } from './constraints.ts';

describeOnEachEngine('the constraints of the schema', { migrations }, (open) => {
  it('are each a problem to callers, as the catalogue lists them', async () => {
    await assertConstraintsMapped(await open(), constraints);
  });
});
