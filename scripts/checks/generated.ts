import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  describeVariables,
  type VariableDescription,
  type Variables,
} from '../../packages/chassis/src/config/load-config.ts';
import { logFields } from '../../packages/chassis/src/logging/catalog.ts';
import {
  attributes,
  type SpanDefinition,
  spanEvents,
  spans,
} from '../../packages/chassis/src/tracing/catalog.ts';
import {
  type AuditAction,
  auditActors,
  auditEntityOf,
  auditFields,
  auditOutcomes,
  commonAuditActions,
} from '../../packages/contracts/src/audit.ts';
import { asyncApiDocument } from '../../packages/contracts/src/events/async-api.ts';
import { allEvents } from '../../packages/contracts/src/events/catalog.ts';
import { breakingChanges } from '../../packages/contracts/src/events/compatibility.ts';
import { publishedSchema } from '../../packages/contracts/src/events/schema.ts';
import { documents, managementDocuments } from '../../packages/contracts/src/openapi/documents.ts';
import { problemCodes, problemType, problemTypes } from '../../packages/contracts/src/problems.ts';
import { contracts } from '../../packages/contracts/src/services.ts';
import { defaultRoutesFile, upstreamUrlVariables } from '../../packages/gateway/src/config.ts';
import { policies } from '../../packages/gateway/src/policies/policies.ts';
import { documentPolicies } from '../../packages/gateway/src/policies/route-policies.ts';
import { parseTable } from '../../packages/gateway/src/routes/read-table.ts';
import { routeTableSchema } from '../../packages/gateway/src/routes/table.ts';
import { dashboardFiles } from '../dashboards/dashboards.ts';
import { chartFiles, valuesWithVersions } from '../lib/chart.ts';
import { profileFiles } from '../lib/chart-profiles.ts';
import { natsUsersFile } from '../lib/nats-users.ts';
import { serviceListFiles } from '../lib/service-lists.ts';
import { root, type Service, type ServiceName, services } from '../lib/services.ts';
import { traceVariables } from '../trace/variables.ts';
import { commonPasswordsFilter } from './common-passwords.ts';

/** Returns the content of the files that are generated from code or development dependencies, by path. */
export function generatedFiles(): ReadonlyMap<string, string | Buffer> {
  return new Map<string, string | Buffer>([
    ...[...documents].map(([service, document]): [string, string] => [
      `packages/contracts/openapi/${service}.json`,
      json(document),
    ]),
    ...[...managementDocuments].map(([service, document]): [string, string] => [
      `packages/contracts/openapi/${service}-management.json`,
      json(document),
    ]),
    ['packages/contracts/asyncapi.json', json(asyncApiDocument())],
    ...allEvents.map((event): [string, string] => [schemaFile(event.type), json(publishedSchema(event))]),
    ['packages/gateway/routes.schema.json', json(routeTableSchema())],
    ['charts/zerda/files/nats-users.conf', natsUsersFile()],
    ['charts/zerda/values.yaml', valuesWithVersions()],
    ...chartFiles(),
    ...profileFiles(),
    ...serviceListFiles(),
    ...dashboardFiles(),
    ['docs/audit.md', auditPage()],
    ['docs/configuration.md', configurationPage()],
    ['docs/gateway.md', gatewayPage()],
    ['docs/logs.md', logsPage()],
    ['docs/problems.md', problemsPage()],
    ['docs/tracing.md', tracingPage()],
    ['packages/user-service/common-passwords.bloom', commonPasswordsFilter()],
  ]);
}

/** Returns the generated files below `directory` (default: the repository) that are missing or out of date. */
export async function findDrift(directory = root): Promise<string[]> {
  const findings = await Promise.all(
    [...generatedFiles()].map(async ([path, content]) => {
      const current = await readFile(join(directory, path)).catch(() => undefined);
      if (current === undefined) return [`${path} is missing: npm run generate`];
      return isSame(current, content) ? [] : [`${path} has drifted: npm run generate`];
    }),
  );
  return findings.flat();
}

function isSame(current: Buffer, content: string | Buffer): boolean {
  // A checkout on Windows may have changed line endings.
  if (typeof content === 'string') return current.toString().replaceAll('\r\n', '\n') === content;
  return current.equals(content);
}

/**
 * Returns breaking changes of the event schemas published below `directory` (default: the repository). They require a new
 * version of the event type. `npm run generate` stops when there are any, because generating would hide them.
 */
export async function findBreakingChanges(directory = root): Promise<string[]> {
  const findings = await Promise.all(
    allEvents.map(async (event) => {
      const published = await readFile(join(directory, schemaFile(event.type)), 'utf8').catch(
        () => undefined,
      );
      if (published === undefined) return [];
      return breakingChanges(JSON.parse(published), publishedSchema(event)).map(
        (change) => `${event.type} is already published: ${change}. Add a new version of the event type.`,
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

/** The environment variables of every service, from their schemas. */
export const serviceVariables: ReadonlyMap<ServiceName, readonly VariableDescription[]> = new Map(
  await Promise.all(services.map(describeService)),
);

async function describeService({ name }: Service): Promise<[ServiceName, VariableDescription[]]> {
  const { variables } = (await import(`../../packages/${name}/src/config.ts`)) as { variables: Variables };
  const described = describeVariables(variables);
  if (name === 'gateway') {
    const table = parseTable(readFileSync(defaultRoutesFile, 'utf8'), 'routes.yaml');
    described.push(...describeVariables(upstreamUrlVariables(table)));
  }
  return [name, described];
}

const generatedNotice = '<!-- Generated by `npm run generate`. Change the source code instead. -->';

const startVariables = `| variable | default | meaning |
|---|---|---|
| \`ZERDA_HOST\` | \`127.0.0.1\` | Address that all ports listen on. |
| ${list(services, ({ variable }) => `ZERDA_${variable}_PORT`)} | ${list(services, ({ port }) => port)} | Ports of the APIs. |
| ${list(services, ({ variable }) => `ZERDA_${variable}_MANAGEMENT_PORT`)} | ${list(services, ({ managementPort }) => managementPort)} | Ports of \`/livez\`, \`/readyz\` and \`/metrics\`. |
| \`ZERDA_DATA_DIR\` | \`.data\` | Folder of the embedded databases and of the log files for \`npm run trace\`. Other users of the machine cannot read it. |
| ${list(
  services.filter(({ database }) => database),
  ({ variable }) => `ZERDA_${variable}_DATABASE_URL`,
)} |  | PostgreSQL database of a service, instead of the embedded one. |
| \`ZERDA_TRACES\` | \`false\` | Whether spans are stored for \`npm run trace\`, instead of being exported to OTEL_EXPORTER_OTLP_ENDPOINT. Recording spans takes CPU time. |
| \`AUTH\` | \`off\` | \`required\` requires access tokens. The first run creates a password for alice@example.com in \`.data/secrets.json\`. |`;

function list(selected: readonly Service[], textOf: (service: Service) => string | number): string {
  return selected.map((service) => `\`${textOf(service)}\``).join(', ');
}

function configurationPage(): string {
  return `${[
    '# Configuration',
    generatedNotice,
    'Each service reads its environment variables once, at startup. An empty variable counts as not set. If the configuration is ' +
      'invalid, the service prints one line for each invalid variable and exits with code 78.',
    '## npm start',
    '`npm start`, `npm run dev` and `npm run gateway` set the variables of the services from these:',
    startVariables,
    '## npm run trace',
    variableTable(describeVariables(traceVariables)),
    ...[...serviceVariables].flatMap(([service, variables]) => [`## ${service}`, variableTable(variables)]),
  ].join('\n\n')}\n`;
}

function variableTable(variables: readonly VariableDescription[]): string {
  return [
    '| variable | default | meaning |',
    '|---|---|---|',
    ...variables.map(
      ({ name, default: value, description }) =>
        `| \`${name}\` | ${value === undefined ? '' : `\`${value}\``} | ${cell(description)} |`,
    ),
  ].join('\n');
}

function problemsPage(): string {
  return `${[
    '# Problems',
    generatedNotice,
    'Every error response of every service is `application/problem+json` (RFC 9457). Its `type` is one of these paths, ' +
      'where the gateway serves the description. Search the logs for `correlation_id` to find the request.',
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

/** Returns docs/gateway.md with the current table of policies. */
function gatewayPage(): string {
  const page = readFileSync(join(root, 'docs/gateway.md'), 'utf8').replaceAll('\r\n', '\n');
  return page.replace(/^\| order \| key \|.*(\n\|.*)*/m, () => documentPolicies(policies));
}

/** Returns docs/audit.md with the current tables. Its text comes first; the tables follow the heading "Fields". */
/** Returns the actions of audit lines with their meanings: those of each service, then those of all. */
function auditActions(): [AuditAction, string][] {
  return [...contracts.map(({ audit }) => audit), commonAuditActions].flatMap(
    (actions) => Object.entries(actions) as [AuditAction, string][],
  );
}

function auditPage(): string {
  const page = readFileSync(join(root, 'docs/audit.md'), 'utf8').replaceAll('\r\n', '\n');
  const tables = [
    '## Fields',
    '<!-- Generated by `npm run generate` from packages/contracts/src/audit.ts and the contracts of the services. -->',
    meaningTable('field', auditFields),
    '## Actions',
    [
      '| action | entity | meaning |',
      '|---|---|---|',
      ...auditActions().map(
        ([name, meaning]) => `| \`${name}\` | ${auditEntityOf(name)} | ${cell(meaning)} |`,
      ),
    ].join('\n'),
    '## Outcomes',
    meaningTable('outcome', auditOutcomes),
    '## Actors',
    meaningTable('actor type', auditActors),
  ].join('\n\n');
  return page.replace(/^## Fields\n.*/ms, () => `${tables}\n`);
}

/** Returns docs/logs.md with the current table of fields. */
function logsPage(): string {
  const page = readFileSync(join(root, 'docs/logs.md'), 'utf8').replaceAll('\r\n', '\n');
  return page.replace(/^\| field \| meaning \|.*(\n\|.*)*/m, () => meaningTable('field', logFields));
}

/** Returns a table of names and their meaning. */
function meaningTable(name: string, meanings: Readonly<Record<string, string>>): string {
  return [
    `| ${name} | meaning |`,
    '|---|---|',
    ...Object.entries(meanings).map(([key, meaning]) => `| \`${key}\` | ${cell(meaning)} |`),
  ].join('\n');
}

/** Returns docs/tracing.md with the current catalog. Its text comes first; the catalog follows the heading "Spans". */
function tracingPage(): string {
  const page = readFileSync(join(root, 'docs/tracing.md'), 'utf8').replaceAll('\r\n', '\n');
  return page.replace(/^## Spans\n.*/ms, () => spanCatalog());
}

function spanCatalog(): string {
  const code = (name: string): string => `\`${name}\``;
  const list = (names: readonly string[]): string => names.map(code).join(', ');
  return `${[
    '## Spans',
    '<!-- Generated by `npm run generate` from packages/chassis/src/tracing/catalog.ts. -->',
    [
      '| name | kind | meaning | attributes | events | links to |',
      '|---|---|---|---|---|---|',
      ...Object.values<SpanDefinition>(spans).map(
        ({ name, kind, description, attributes: used, events, links = '' }) =>
          `| ${code(name)} | ${kind} | ${cell(description)} | ${list(used)} | ${list(events)} | ${links} |`,
      ),
    ].join('\n'),
    '## Attributes',
    [
      '| attribute | meaning |',
      '|---|---|',
      ...Object.entries(attributes).map(([name, description]) => `| ${code(name)} | ${cell(description)} |`),
    ].join('\n'),
    '## Events',
    [
      '| event | meaning | attributes |',
      '|---|---|---|',
      ...Object.entries(spanEvents).map(
        ([name, { description, attributes: used }]) =>
          `| ${code(name)} | ${cell(description)} | ${list(used)} |`,
      ),
    ].join('\n'),
  ].join('\n\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
