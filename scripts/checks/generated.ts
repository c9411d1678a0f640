import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  describeVariables,
  type VariableDescription,
} from '../../packages/chassis/src/config/load-config.ts';
import { asyncApiDocument } from '../../packages/contracts/src/events/async-api.ts';
import { allEvents } from '../../packages/contracts/src/events/catalogue.ts';
import { breakingChanges } from '../../packages/contracts/src/events/compatibility.ts';
import { publishedSchema } from '../../packages/contracts/src/events/schema.ts';
import { documents } from '../../packages/contracts/src/openapi/documents.ts';
import { problemCodes, problemType, problemTypes } from '../../packages/contracts/src/problems.ts';
import {
  gatewayVariables,
  standardRoutesFile,
  upstreamUrlVariables,
} from '../../packages/gateway/src/config.ts';
import { parseTable } from '../../packages/gateway/src/routes/read-table.ts';
import { routeTableSchema } from '../../packages/gateway/src/routes/table.ts';
import { orderServiceVariables } from '../../packages/order-service/src/config.ts';
import { userServiceVariables } from '../../packages/user-service/src/config.ts';
import { chartFiles } from '../lib/chart.ts';
import { root, type ServiceName } from '../lib/services.ts';
import { commonPasswordsFilter } from './common-passwords.ts';

/** Files that are made from code or from development dependencies, by their path: everything in them has one source elsewhere. */
export function generatedFiles(): ReadonlyMap<string, string | Buffer> {
  return new Map<string, string | Buffer>([
    ...Object.entries(documents).map(([service, document]): [string, string] => [
      `packages/contracts/openapi/${service}.json`,
      json(document),
    ]),
    ['packages/contracts/asyncapi.json', json(asyncApiDocument())],
    ...allEvents.map((event): [string, string] => [schemaFile(event.type), json(publishedSchema(event))]),
    ['packages/gateway/routes.schema.json', json(routeTableSchema())],
    ...chartFiles(),
    ['docs/configuration.md', configurationPage()],
    ['docs/problems.md', problemsPage()],
    ['packages/user-service/common-passwords.bloom', commonPasswordsFilter()],
  ]);
}

/** Generated files below `directory` (default: the repository) that are not as their source has them. */
export async function findDrift(directory = root): Promise<string[]> {
  const findings = await Promise.all(
    [...generatedFiles()].map(async ([path, content]) => {
      const found = await readFile(join(directory, path)).catch(() => undefined);
      if (found === undefined) return [`${path} is missing: npm run generate`];
      return isSame(found, content) ? [] : [`${path} has drifted: npm run generate`];
    }),
  );
  return findings.flat();
}

function isSame(found: Buffer, content: string | Buffer): boolean {
  // A checkout on Windows may have changed the ends of lines of text.
  if (typeof content === 'string') return found.toString().replaceAll('\r\n', '\n') === content;
  return found.equals(content);
}

/**
 * Changes of events that were published below `directory` (default: the repository), which need a new version of their
 * type. Generating would hide them, so it is not done while there are any.
 */
export async function findBreakingChanges(directory = root): Promise<string[]> {
  const findings = await Promise.all(
    allEvents.map(async (event) => {
      const published = await readFile(join(directory, schemaFile(event.type)), 'utf8').catch(
        () => undefined,
      );
      if (published === undefined) return [];
      return breakingChanges(JSON.parse(published), publishedSchema(event)).map(
        (change) => `${event.type} was published: ${change}; make a new version of the type`,
      );
    }),
  );
  return findings.flat();
}

function schemaFile(type: string): string {
  return `packages/contracts/events/${type}.json`;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** The variables of every service, as their schemas have them. */
export const serviceVariables: Readonly<Record<ServiceName, readonly VariableDescription[]>> = {
  'user-service': describeVariables(userServiceVariables),
  'order-service': describeVariables(orderServiceVariables),
  gateway: [
    ...describeVariables(gatewayVariables),
    ...describeVariables(
      upstreamUrlVariables(parseTable(readFileSync(standardRoutesFile, 'utf8'), 'routes.yaml')),
    ),
  ],
};

const generatedNotice = '<!-- Made by `npm run generate`; change the code it is made from instead. -->';

function configurationPage(): string {
  return `${[
    '# Configuration',
    generatedNotice,
    'Every service reads environment variables, once, when it starts. A variable that is set to nothing counts as not ' +
      'set. A service whose configuration is wrong names every variable that is, one a line, and ends with exit code 78.',
    ...Object.entries(serviceVariables).flatMap(([service, variables]) => [
      `## ${service}`,
      [
        '| variable | default | meaning |',
        '|---|---|---|',
        ...variables.map(
          ({ name, default: value, description }) =>
            `| \`${name}\` | ${value === undefined ? '' : `\`${value}\``} | ${cell(description)} |`,
        ),
      ].join('\n'),
    ]),
  ].join('\n\n')}\n`;
}

function problemsPage(): string {
  return `${[
    '# Problems',
    generatedNotice,
    'Every error answer of every service is `application/problem+json` (RFC 9457). Its `type` is one of these paths, ' +
      'which the gateway answers with the description; `correlation_id` finds the request in the logs.',
    [
      '| type | status | title | meaning |',
      '|---|---|---|---|',
      ...problemCodes.map((code) => {
        const { status, title, description } = problemTypes[code];
        return `| \`${problemType(code)}\` | ${status} | ${cell(title)} | ${cell(description)} |`;
      }),
    ].join('\n'),
  ].join('\n\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
