/**
 * Reporter of `node --test`: writes a line for each file, `[milliseconds, file]` as JSON. It is JavaScript, since the runner loads
 * reporters before tsx.
 * @param {AsyncIterable<import('node:test/reporters').TestEvent>} events
 */
// biome-ignore lint/style/noDefaultExport: the runner takes the default export of a reporter
export default async function* reportDurations(events) {
  for await (const { type, data } of events) {
    // A file is a test named after itself.
    if (type === 'test:complete' && data.nesting === 0 && data.name === data.file)
      yield `${JSON.stringify([data.details.duration_ms, data.file])}\n`;
  }
}
