import { type ProblemCode, problemCodes, problemType, problemTypes } from '@zerda/contracts/problems';
import { html } from './html.ts';
import { page } from './page.ts';

/** Renders the page with all problem types. */
export function problemListPage(): string {
  const rows = problemCodes.map(
    (code) => html`<tr><td>${problemTypes[code].status}</td>
<td><a href="${problemType(code)}"><code>${code}</code></a></td><td>${problemTypes[code].title}</td></tr>
`,
  );
  return page(
    'Problems',
    html`<h1>Problems</h1>
<p>Every error response is <code>application/problem+json</code> (RFC 9457). Its <code>type</code> is the path of one of
these pages and never changes its meaning. Search the logs of all services for <code>correlation_id</code> to find the request.</p>
<div class="table"><table>
<thead><tr><th scope="col">Status</th><th scope="col">Code</th><th scope="col">Title</th></tr></thead>
<tbody>
${rows}</tbody>
</table></div>`,
  );
}

/** Renders the page of one problem type. */
export function problemPage(code: ProblemCode): string {
  const { status, title, description } = problemTypes[code];
  const example = {
    type: problemType(code),
    title,
    status,
    correlation_id: '4a6b7c8d-0e1f-4a2b-8c3d-5e6f7a8b9c0d',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
  };
  return page(
    title,
    html`<h1>${title}</h1>
<p class="faint">Status ${status}, code <code>${code}</code></p>
<p>${description}</p>
<h2>Example</h2>
<pre><code>${JSON.stringify(example, null, 2)}</code></pre>`,
  );
}
