import { gatewayContract } from '../gateway/contract.ts';
import type { ProblemCode } from '../problems.ts';
import type { Operation } from '../protocol/operation.ts';
import { contracts } from '../services.ts';
import { type OpenApiDocument, openApiDocument } from './document.ts';
import { apiVersion, documentOf } from './service-document.ts';

/** Problems of the gateway's policies, which apply to every operation. */
const policyProblems: readonly ProblemCode[] = ['rate-limited', 'overloaded'];

/** Problems of forwarded operations in addition to those of the service. */
const forwardingProblems: readonly ProblemCode[] = [
  ...policyProblems,
  'upstream-failed',
  'upstream-overloaded',
  'upstream-unavailable',
  'upstream-timeout',
];

const gatewayOperations: readonly Operation[] = Object.values(gatewayContract.operations);

/** OpenAPI document of each service, by its name. That of the gateway contains the operations of all services. */
export const documents: ReadonlyMap<string, OpenApiDocument> = new Map(
  contracts.map((contract): [string, OpenApiDocument] => [
    contract.name,
    contract.name === gatewayContract.name ? documentOfGateway() : documentOf(contract),
  ]),
);

/** OpenAPI document of each management port that other services call, by the name of its service. */
export const managementDocuments: ReadonlyMap<string, OpenApiDocument> = new Map(
  contracts.flatMap(({ name, management }): [string, OpenApiDocument][] => {
    if (management === undefined) return [];
    const document = openApiDocument({
      title: `zerda ${name}, management port`,
      description: `Calls of other services to the management port of ${name}.`,
      version: apiVersion,
      tags: { Management: 'Calls between services on the management port. Each request is signed.' },
      operations: Object.values(management),
      server: `Management port of ${name}. It does not serve this document.`,
    });
    return [[name, document]];
  }),
);

/** Returns the OpenAPI document of a service. @throws TypeError if it has no contract */
export function findDocument(service: string): OpenApiDocument {
  const document = documents.get(service);
  if (document === undefined) throw new TypeError(`${service} has no contract`);
  return document;
}

function documentOfGateway(): OpenApiDocument {
  const others = contracts.filter(({ name }) => name !== gatewayContract.name);
  return openApiDocument({
    title: 'zerda',
    description: gatewayContract.description,
    version: apiVersion,
    tags: Object.assign({}, ...contracts.map(({ tags }) => tags)),
    operations: [...gatewayOperations, ...others.flatMap(({ operations }) => Object.values(operations))],
    problemsOf: (operation) => {
      // The gateway serves its health under overload, too.
      if (operation === gatewayContract.operations.getHealth) return ['rate-limited'];
      if (gatewayOperations.includes(operation)) return policyProblems;
      return operation.body === undefined ? forwardingProblems : [...forwardingProblems, 'request-timeout'];
    },
  });
}
