import { type ProblemCode, problemCodeOf, problemType } from '@zerda/contracts/problems';
import { type Html, html } from './html.ts';
import { page, prose } from './page.ts';
import { exampleOf, referredName, type Schema, type Schemas } from './schema-example.ts';

/** The parts of an OpenAPI 3.1 document that the page uses. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly description?: string; readonly version: string };
  readonly tags?: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: { readonly schemas: Schemas };
}

interface ApiOperation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, ApiResponse>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

interface ApiResponse {
  readonly description: string;
  readonly content?: Content;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly operation: ApiOperation;
}

/** Renders the API page from the OpenAPI document. */
export function apiPage(document: ApiDocument): string {
  const { info, components } = document;
  const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]): Call => ({ method: method.toUpperCase(), path, operation }),
    ),
  );
  const tags = document.tags?.map(({ name }) => name) ?? [];
  const callsWithTag = (tag: string) => calls.filter(({ operation }) => operation.tags.includes(tag));
  const schemas = Object.entries(components.schemas);
  return page(
    `${info.title} API`,
    html`<h1>${info.title} API</h1>
<p>${info.description} <span class="faint">Version ${info.version}</span></p>
${tags.map((tag) => html`<h4>${tag}</h4><ul class="index">${callsWithTag(tag).map(indexEntry)}</ul>`)}
<p><a href="#schemas">Schemas</a></p>
${tags.map((tag) => html`<h2>${tag}</h2>${callsWithTag(tag).map((call) => callSection(call, components.schemas))}`)}
<h2 id="schemas">Schemas</h2>
${schemas.map(([name, schema]) => schemaSection(name, schema, components.schemas))}`,
  );
}

function indexEntry({ method, path, operation }: Call): Html {
  return html`<li><a href="#${operation.operationId}"><code><span class="method">${method}</span>${path}</code></a>
<span class="faint">${operation.summary}</span></li>`;
}

function callSection(call: Call, schemas: Schemas): Html {
  const { method, path, operation } = call;
  const { parameters = [], requestBody, description } = operation;
  return html`<section id="${operation.operationId}">
<h3><code>${method} ${path}</code></h3>
<p>${prose(operation.summary)}. ${description === undefined ? undefined : prose(description)}</p>
${parameters.length > 0 ? html`<h4>Parameters</h4>${parameterTable(parameters)}` : undefined}
${requestBody === undefined ? undefined : html`<h4>Body</h4><p>${contentType(requestBody.content)}</p>`}
<h4>Responses</h4>
${responseTable(operation.responses)}
<h4>Example</h4>
<pre><code>${exampleCall(call, schemas)}</code></pre>
${exampleResponse(operation, schemas)}
</section>`;
}

function parameterTable(parameters: readonly Parameter[]): Html {
  const rows = parameters.map(
    (parameter) => html`<tr><td><code>${parameter.name}</code></td><td>${parameter.in}</td>
<td>${typeOf(parameter.schema)}</td><td>${parameter.required ? 'required' : 'optional'}</td>
<td>${prose(parameter.description ?? '')}</td></tr>
`,
  );
  return table(['Name', 'In', 'Type', '', 'Meaning'], rows);
}

function responseTable(responses: Readonly<Record<string, ApiResponse>>): Html {
  const rows = Object.entries(responses).map(
    ([
      status,
      { description, content },
    ]) => html`<tr><td>${status}</td><td>${prose(description, problemLink)}</td>
<td>${content === undefined ? undefined : contentType(content)}</td></tr>
`,
  );
  return table(['Status', 'Meaning', 'Body'], rows);
}

function schemaSection(name: string, schema: Schema, schemas: Schemas): Html {
  const { properties = {}, required = [] } = schema;
  const rows = Object.entries(properties).map(
    ([member, of]) => html`<tr><td><code>${member}</code></td><td>${typeOf(of)}</td>
<td>${required.includes(member) ? 'required' : 'optional'}</td><td>${prose(of.description ?? '')}</td></tr>
`,
  );
  return html`<section id="${schemaId(name)}">
<h3>${name}</h3>
<p>${prose(schema.description ?? '')}</p>
${rows.length > 0 ? table(['Member', 'Type', '', 'Meaning'], rows) : html`<p>${typeOf(schema)}</p>`}
<pre><code>${JSON.stringify(exampleOf(schema, schemas), null, 2)}</code></pre>
</section>`;
}

function table(headings: readonly string[], rows: readonly Html[]): Html {
  return html`<div class="table"><table>
<thead><tr>${headings.map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead>
<tbody>
${rows}</tbody>
</table></div>`;
}

function contentType(content: Content): Html[] {
  return Object.entries(content).map(([type, { schema }]) => html`<code>${type}</code> ${typeOf(schema)} `);
}

function schemaId(name: string): string {
  return `schema-${name}`;
}

function typeOf(schema: Schema): Html {
  const name = referredName(schema);
  if (name !== undefined) return html`<a href="#${schemaId(name)}">${name}</a>`;
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum !== undefined)
    return joined(schema.enum.map((value) => html`<code>${JSON.stringify(value)}</code>`));
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives !== undefined) return joined(alternatives.map(typeOf));
  if (schema.type === 'array') return html`list of ${typeOf(schema.items ?? {})}`;
  if (schema.type === 'object' && schema.properties !== undefined) {
    const members = Object.entries(schema.properties).map(
      ([member, of]) => html`<code>${member}</code>: ${typeOf(of)}`,
    );
    return html`{ ${joined(members, ', ')} }`;
  }
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? ['anything']);
  return html`${types.join(' or ')}${boundsOf(schema)}`;
}

function joined(parts: readonly Html[], separator = ' or '): Html {
  return html`${parts.map((part, index) => (index === 0 ? part : html`${separator}${part}`))}`;
}

function boundsOf({ minimum, maximum, default: fallback }: Schema): string {
  return [
    minimum === undefined ? '' : ` from ${minimum}`,
    maximum === undefined ? '' : ` to ${maximum}`,
    fallback === undefined ? '' : `, default ${JSON.stringify(fallback)}`,
  ].join('');
}

/** Links the problem codes in response descriptions to their pages. */
function problemLink(code: string): Html | undefined {
  const type = problemType(code as ProblemCode);
  return problemCodeOf(type) === undefined ? undefined : html`<a href="${type}">${code}</a>`;
}

function exampleCall({ method, path, operation }: Call, schemas: Schemas): string {
  const url = `http://localhost:8000${path.replaceAll(/\{\w+\}/g, '1')}`;
  const schema = operation.requestBody?.content['application/json']?.schema;
  const options = method === 'GET' || (method === 'POST' && schema !== undefined) ? '' : `-X ${method} `;
  if (schema === undefined) return `curl ${options}${url}`;
  const body = JSON.stringify(exampleOf(schema, schemas)).replaceAll("'", String.raw`'\''`);
  return `curl ${options}${url} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}

function exampleResponse({ responses }: ApiOperation, schemas: Schemas): Html | undefined {
  const [status, response] = Object.entries(responses).find(([code]) => code.startsWith('2')) ?? [];
  const schema = response?.content?.['application/json']?.schema;
  if (schema === undefined) return undefined;
  return html`<p class="faint">Response (${status}):</p>
<pre><code>${JSON.stringify(exampleOf(schema, schemas), null, 2)}</code></pre>`;
}
