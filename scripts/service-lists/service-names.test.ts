import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renaming, replaceAll, serviceNames } from './service-names.ts';

describe('names of a service', () => {
  it('derive the entity from the service', () => {
    const cases: [service: string, entity: string, plural: string][] = [
      ['payments', 'payment', 'payments'],
      ['payment-service', 'payment', 'payments'],
      ['credit-notes', 'credit-note', 'credit-notes'],
      ['companies', 'company', 'companies'],
      ['boxes', 'box', 'boxes'],
      ['address-service', 'address', 'addresses'],
      ['inventory', 'inventory', 'inventories'],
    ];
    for (const [service, entity, plural] of cases)
      assert.deepEqual(serviceNames(service), { service, entity, plural });
    assert.deepEqual(serviceNames('billing', 'invoice'), {
      service: 'billing',
      entity: 'invoice',
      plural: 'invoices',
    });
  });

  it('reject names that Kubernetes, paths or identifiers cannot have', () => {
    for (const name of [
      'Payments',
      '1st',
      'a_b',
      'a--b',
      '-a',
      'a-',
      'a-1',
      '',
      'a'.repeat(31),
      '../x',
      'a b',
    ])
      assert.throws(() => serviceNames(name), /is not a valid name/, name);
    assert.throws(() => serviceNames('billing', 'In Voice'), /"In Voice" is not a valid name/);
  });

  it('are replaced in every spelling, each text once', () => {
    const text = 'sample-item sampleItem SampleItem sample_item SAMPLE_ITEM sample item. Sample item';
    assert.equal(
      replaceAll(text, renaming('sample-item', 'credit-note')),
      'credit-note creditNote CreditNote credit_note CREDIT_NOTE credit note. Credit note',
    );
    assert.equal(replaceAll('a-b b-a', [...renaming('a-b', 'b-a'), ...renaming('b-a', 'x-y')]), 'b-a x-y');
  });
});
