// Writes JSON schemas for kubeconform from the OpenAPI document in the Go module of a Kubernetes version:
// node .ci/kubernetes-schemas.mjs swagger.json folder. The schemas are strict: they reject unknown members.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const [source, folder] = process.argv.slice(2);
const { definitions } = JSON.parse(await readFile(source, 'utf8'));

for (const [name, definition] of Object.entries(definitions)) {
  if (definition.properties) definition.additionalProperties = false;
  if (definition.format === 'int-or-string') definitions[name] = { type: ['integer', 'string'] };
}

await mkdir(folder, { recursive: true });
await writeFile(join(folder, '_definitions.json'), JSON.stringify({ definitions }));
for (const [name, definition] of Object.entries(definitions)) {
  for (const { group, version, kind } of definition['x-kubernetes-group-version-kind'] ?? []) {
    const suffix = [group.split('.')[0], version].filter(Boolean).join('-');
    const schema = { $ref: `_definitions.json#/definitions/${name}` };
    await writeFile(join(folder, `${kind.toLowerCase()}-${suffix}.json`), JSON.stringify(schema));
  }
}
