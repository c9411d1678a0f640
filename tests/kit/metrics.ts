import { sendRequest } from '../../packages/chassis/testing/http.ts';

/**
 * Returns the value of a sample of a service's metrics.
 * @param sample name and labels as in the text format
 * @throws Error if the service has no such sample
 */
export async function readSample(managementUrl: string, sample: string): Promise<number> {
  const { text } = await sendRequest(`${managementUrl}/metrics`);
  const value = parseSamples(text).get(sample);
  if (value === undefined) throw new Error(`No sample ${sample} in:\n${text}`);
  return value;
}

/**
 * Returns the sum of a metric's samples whose text contains `labels`; 0 without samples.
 * @throws Error if the service has no such metric
 */
export async function sumSamples(managementUrl: string, name: string, labels = ''): Promise<number> {
  const { text } = await sendRequest(`${managementUrl}/metrics`);
  if (!text.split('\n').some((line) => line.startsWith(`# TYPE ${name} `)))
    throw new Error(`No metric ${name} in:\n${text}`);
  return [...parseSamples(text)]
    .filter(([sample]) => sample.replace(/\{.*/, '') === name && sample.includes(labels))
    .reduce((sum, [, value]) => sum + value, 0);
}

/** Returns the values of the samples by name and labels. */
function parseSamples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
}

/** Returns the names and labels of a service's samples, except those of the Node.js process. */
export async function readSeries(managementUrl: string): Promise<string[]> {
  const { text } = await sendRequest(`${managementUrl}/metrics`);
  return [...parseSamples(text).keys()].filter((sample) => !/^(nodejs|process)_/.test(sample));
}
