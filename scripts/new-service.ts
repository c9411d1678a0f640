import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import type { Operation } from '../packages/contracts/src/protocol/operation.ts';
import { sampleServiceContract } from '../packages/contracts/src/sample-service/contract.ts';
import { contracts } from '../packages/contracts/src/services.ts';
import { statelessServiceContract } from '../packages/contracts/src/stateless-service/contract.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { root, services, variableOf } from './lib/services.ts';
import { blueprintReplacements, copyBlueprint, subscription } from './service-lists/blueprint-copy.ts';
import { changeLists, writeFiles } from './service-lists/change-lists.ts';
import { registrations } from './service-lists/registrations.ts';
import { replaceAll, serviceNames } from './service-lists/service-names.ts';
import { updateDerivedFiles } from './service-lists/update-derived-files.ts';

const usage = `Use npm run new-service -- <name> [--entity <singular>] [--no-database] [--hears user.deleted]

Creates a service, such as payments, and makes it part of the system.
  --entity <singular>    name of its entity, if it does not follow from the name of the service
  --no-database          a stateless service with one example operation
  --hears user.deleted   deletes the data of a deleted user`;

/** Names of other delivery units. */
const reserved = ['chart', 'docs'];

/** `npm run new-service`: copies a blueprint and adds the new service to all lists. Writes nothing if a step is not possible. */
await runCommand(async () => {
  const { name, entity, database, hears } = readOptions();
  const names = serviceNames(name, entity);
  const blueprint = database ? sampleServiceContract : statelessServiceContract;
  const ports = {
    port: Math.max(...services.map(({ port }) => port)) + 1,
    managementPort: Math.max(...services.map(({ managementPort }) => managementPort)) + 1,
  };
  const copy = { ...names, ...ports, blueprint: blueprint.name };
  const renamed = (text: string): string => replaceAll(text, blueprintReplacements(copy));
  requireUnused(
    name,
    Object.values(blueprint.operations).map(({ id }) => renamed(id)),
    names.plural,
  );

  const without = database && !hears ? [subscription] : [];
  const created = await copyBlueprint({ ...copy, without });
  const routes = routesOf(Object.values(blueprint.operations), blueprint.name).map(renamed);
  const subscribesTo = hears ? ['user-service'] : [];
  const changed = await changeLists(
    registrations({ ...names, port: ports.port, database, subscribesTo, routes }),
    'add',
  );
  await writeFiles([...created, ...changed]);
  await updateDerivedFiles([...created, ...changed].map(({ file }) => file));

  console.log(
    `Created ${name} in packages/${name} and packages/contracts/src/${name}: ${created.length} files.`,
  );
  console.log(
    `Changed:\n${changed.map(({ file }) => `  ${file}\n`).join('')}  package-lock.json and generated files`,
  );
  console.log(`\nNext:
  npm start                        ${name} runs on port ${ports.port}; the gateway forwards /api/${names.plural} to it
  npm test -- packages/${name}
  docs/guides/your-own-service.md  where to change what`);
  return 0;
});

interface Options {
  readonly name: string;
  readonly entity: string | undefined;
  readonly database: boolean;
  /** Whether it receives the events of deleted users. */
  readonly hears: boolean;
}

function readOptions(): Options {
  const { values, positionals } = parseArguments(
    {
      allowPositionals: true,
      options: {
        entity: { type: 'string' },
        'no-database': { type: 'boolean', default: false },
        hears: { type: 'string' },
      },
    },
    usage,
  );
  const invalid = (problem: string) => new StartupError(`${problem} ${usage}`, 78);
  const { entity, hears, 'no-database': isStateless } = values;
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0) throw invalid('Expected one name.');
  if (hears !== undefined && hears !== 'user.deleted')
    throw invalid(`--hears ${hears}: only user.deleted. docs/guides/add-an-event.md adds others.`);
  if (hears !== undefined && isStateless)
    throw invalid('A service without a database has no data to delete: --no-database excludes --hears.');
  return { name, entity, database: !isStateless, hears: hears !== undefined };
}

/** @throws StartupError if another service has the name, an operation or the path */
function requireUnused(name: string, operationIds: readonly string[], plural: string): void {
  for (const folder of [`packages/${name}`, `packages/contracts/src/${name}`])
    if (existsSync(join(root, folder)))
      throw new StartupError(
        `${folder} exists. Choose another name, or remove it: npm run remove-service -- ${name}`,
      );
  if (reserved.includes(name)) throw new StartupError(`${name} is a reserved name. Choose another one.`);
  const variable = variableOf(name);
  const other = services.find((service) => service.variable === variable);
  if (other !== undefined)
    throw new StartupError(
      `${name} would have the variables of ${other.name}, ZERDA_${variable}_PORT. Choose another name.`,
    );
  for (const contract of contracts)
    for (const { id, path } of Object.values(contract.operations))
      if (operationIds.includes(id) || path === `/api/${plural}`)
        throw new StartupError(
          `${contract.name} has ${path} (${id}) already. Choose another entity: --entity <singular>`,
        );
}

/** Returns the routes to the operations, as entries of routes.yaml. */
function routesOf(operations: readonly Operation[], upstream: string): string[] {
  const routes = new Map<string, { access: string; methods: string[] }>();
  for (const { path, access, method } of operations) {
    const route = routes.get(path) ?? { access, methods: [] };
    route.methods.push(method.toUpperCase());
    routes.set(path, route);
  }
  return [...routes].map(([path, { access, methods }]) => {
    const keys = [
      `path: ${path.includes('{') ? JSON.stringify(path) : path}`,
      `methods: [${methods.join(', ')}]`,
      `upstream: ${upstream}`,
      ...(access === 'user' ? [] : [`access: ${access}`]),
      ...(path.endsWith('/health') ? ['shed: off'] : []),
    ];
    return `{ ${keys.join(', ')} }`;
  });
}
