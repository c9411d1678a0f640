import { it } from 'node:test';
import { assertConstraintsMapped } from '@zerda/chassis/testing/constraints';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { migrations } from '../../testing/app.ts';
import { constraints } from './constraints.ts';

describeOnEachEngine('constraints of the schema of sample-service', { migrations }, (openDatabase) => {
  it('are all mapped to a failure', async () => {
    await assertConstraintsMapped(await openDatabase(), constraints);
  });
});
