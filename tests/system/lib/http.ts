/** An answer with its JSON read; `body` is undefined when it is not JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // The tests look into answers whose shape is what they check.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any;
  readonly text: string;
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly json?: unknown;
  readonly headers?: Record<string, string>;
}

/** Calls over a connection of its own, so that none is kept to a service that a test is about to end. */
export async function call(url: string, { method = 'GET', json, headers }: Call = {}): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      connection: 'close',
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  const isJson = /\bjson\b/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    body: isJson ? JSON.parse(text) : undefined,
    text,
  };
}

/**
 * Value of one sample of a service's metrics, whose name and labels are given as the service writes them.
 * @throws Error when there is no such sample
 */
export async function readSample(managementUrl: string, sample: string): Promise<number> {
  const { text } = await call(`${managementUrl}/metrics`);
  const value = samplesOf(text).get(sample);
  if (value === undefined) throw new Error(`no sample ${sample} in:\n${text}`);
  return value;
}

/**
 * Sum of the samples of a metric whose labels contain `labels`; 0 while there is none yet.
 * @throws Error when the service has no such metric
 */
export async function sumSamples(managementUrl: string, name: string, labels = ''): Promise<number> {
  const { text } = await call(`${managementUrl}/metrics`);
  if (!text.split('\n').some((line) => line.startsWith(`# TYPE ${name} `)))
    throw new Error(`no metric ${name} in:\n${text}`);
  return [...samplesOf(text)]
    .filter(([sample]) => sample.replace(/\{.*/, '') === name && sample.includes(labels))
    .reduce((sum, [, value]) => sum + value, 0);
}

/** Values by name and labels. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
}
