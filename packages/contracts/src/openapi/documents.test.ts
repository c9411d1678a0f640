import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { problemCodes, problemTypes } from '../problems.ts';
import { contracts } from '../services.ts';
import { documents, findDocument, managementDocuments } from './documents.ts';

type Described = { description?: string };

type HeaderObject = { required?: boolean; schema: { enum?: string[] } };

type OperationObject = Described & {
  operationId: string;
  parameters: { name: string; in: string; required: boolean }[];
  security: Record<string, unknown>[];
  responses: Record<string, { description: string; headers?: Record<string, HeaderObject> }>;
};

function operationsOf(document: object): OperationObject[] {
  const { paths } = document as { paths: Record<string, Record<string, OperationObject>> };
  return Object.values(paths).flatMap((path) => Object.values(path));
}

const named = [
  ...documents,
  ...[...managementDocuments].map(([name, document]) => [`${name}'s management port`, document] as const),
];

for (const [name, document] of named) {
  describe(`OpenAPI document of ${name}`, () => {
    const text = JSON.stringify(document);

    it('resolves every reference', () => {
      const { schemas } = (document as unknown as { components: { schemas: object } }).components;
      const names = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '');
      assert.ok(names.length > 0);
      for (const name of names)
        assert.ok(Object.hasOwn(schemas, name.replace('#/components/schemas/', '')), name);
    });

    it('declares every placeholder of every path as a required parameter', () => {
      const { paths } = document as unknown as { paths: Record<string, Record<string, OperationObject>> };
      for (const [path, operations] of Object.entries(paths)) {
        const placeholders = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
        for (const { parameters } of Object.values(operations)) {
          const declared = parameters.filter(({ in: place }) => place === 'path');
          assert.deepEqual(
            declared.map(({ name }) => name),
            placeholders,
          );
          assert.ok(declared.every(({ required }) => required));
        }
      }
    });

    it('describes every operation, tag and schema', () => {
      const { tags, components } = document as unknown as {
        tags: Described[];
        components: { schemas: Record<string, Described> };
      };
      const described = [...operationsOf(document), ...tags, ...Object.values(components.schemas)];
      for (const node of described) assert.ok(node.description, JSON.stringify(node).slice(0, 200));
    });

    it('has unique operation ids', () => {
      const ids = operationsOf(document).map(({ operationId }) => operationId);
      assert.equal(new Set(ids).size, ids.length);
    });
  });
}

describe('problems in the documents', () => {
  it('are the possible values of the header X-Problem, which callers distinguish them by', () => {
    const getUser = operationsOf(findDocument('user-service')).find(
      ({ operationId }) => operationId === 'getUser',
    );
    assert.deepEqual(getUser?.responses['404']?.headers?.['x-problem'], {
      description: 'Last segment of `type` in the body.',
      required: true,
      schema: { type: 'string', enum: ['user-not-found'] },
    });
    for (const [, document] of named) {
      for (const { responses } of operationsOf(document)) {
        for (const { description, headers } of Object.values(responses)) {
          const codes = [...description.matchAll(/`([a-z-]+)`: /g)].map(([, code]) => code);
          assert.deepEqual(headers?.['x-problem']?.schema.enum ?? [], codes);
        }
      }
    }
  });

  it('include every problem type under its status, except types that belong to no operation', () => {
    const documented = new Set<string>();
    for (const { responses } of operationsOf(findDocument('gateway'))) {
      for (const [status, { description }] of Object.entries(responses)) {
        for (const [, code] of description.matchAll(/`([a-z-]+)`: /g)) {
          assert.ok(code !== undefined && Object.hasOwn(problemTypes, code), code);
          assert.equal(String(problemTypes[code as keyof typeof problemTypes].status), status, code);
          documented.add(code);
        }
      }
    }
    // An operation may also declare `not-found`.
    const withoutOperation = problemCodes.filter((code) => !documented.has(code) && code !== 'not-found');
    assert.deepEqual(withoutOperation, [
      'method-not-allowed',
      'expectation-failed',
      'too-many-headers',
      'upgrade-unsupported',
    ]);
  });

  it('have Retry-After with status 503', () => {
    for (const { responses } of operationsOf(findDocument('order-service'))) {
      assert.ok(responses['503']?.headers?.['Retry-After']);
    }
  });
});

describe('operations of management ports', () => {
  for (const { name, management = {} } of contracts) {
    for (const [operation, { access }] of Object.entries(management)) {
      it(`${operation} of ${name} is signed, and only in the document of the management port`, () => {
        assert.equal(access, 'signed');
        const described = operationsOf(managementDocuments.get(name) ?? {});
        const found = described.find(({ operationId }) => operationId === operation);
        assert.deepEqual(found?.security, [{ signature: [] }]);
        for (const document of documents.values())
          assert.ok(operationsOf(document).every(({ operationId }) => operationId !== operation));
      });
    }
  }

  it('no operation of an API is signed', () => {
    const operations = contracts.flatMap((contract) => Object.values(contract.operations));
    assert.deepEqual(
      operations.filter(({ access }) => access === 'signed').map(({ id }) => id),
      [],
    );
  });
});
