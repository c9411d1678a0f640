import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** The members of a line of schemathesis's NDJSON report that this file reads. */
interface ReportLine {
  readonly ScenarioFinished?: {
    readonly recorder: {
      readonly cases?: Readonly<Record<string, { readonly value: ReportedCase }>>;
      readonly checks?: Readonly<Record<string, readonly { readonly status: string }[]>>;
      readonly interactions?: Readonly<
        Record<string, { readonly response?: { readonly status_code: number } }>
      >;
    };
  };
}

interface ReportedCase {
  readonly method: string;
  readonly path: string;
}

/** Numbers of calls and responses of an operation. */
export interface OperationCount {
  /** Method and path as in the OpenAPI document. */
  readonly operation: string;
  cases: number;
  /** Responses with a 2xx status. */
  accepted: number;
  /** Responses with a 5xx status, and calls without a response. */
  serverErrors: number;
}

export interface FuzzReport {
  /** All calls, including those with methods that no operation has. */
  cases: number;
  /** Calls for which a check failed. */
  failed: number;
  readonly operations: readonly OperationCount[];
}

/** Counts the calls of a report by operation of an OpenAPI document. */
export async function countReport(lines: AsyncIterable<string>, document: object): Promise<FuzzReport> {
  const operations = new Map(
    listOperations(document).map((operation) => [
      operation,
      { operation, cases: 0, accepted: 0, serverErrors: 0 },
    ]),
  );
  const report = { cases: 0, failed: 0, operations: [...operations.values()] };
  for await (const line of lines) {
    const { recorder } = (JSON.parse(line) as ReportLine).ScenarioFinished ?? {};
    for (const [id, { response }] of Object.entries(recorder?.interactions ?? {})) {
      report.cases += 1;
      if (recorder?.checks?.[id]?.some(({ status }) => status === 'failure')) report.failed += 1;
      const reported = recorder?.cases?.[id]?.value;
      const count = operations.get(`${reported?.method} ${reported?.path}`);
      if (count === undefined) continue;
      const status = response?.status_code ?? 599;
      count.cases += 1;
      if (status >= 200 && status < 300) count.accepted += 1;
      if (status >= 500) count.serverErrors += 1;
    }
  }
  return report;
}

/** Returns the requirements that a report does not meet, one line each. */
export function findShortcomings(
  { cases, operations }: FuzzReport,
  { minCases, minShare }: { readonly minCases: number; readonly minShare: number },
): string[] {
  return [
    ...(cases < minCases ? [`${cases} cases, at least ${minCases} are required`] : []),
    ...operations.flatMap(({ operation, cases: called, accepted, serverErrors }) => [
      ...(accepted < called * minShare || called === 0
        ? [
            `${operation}: ${accepted} of ${called} responses are 2xx, at least ${minShare * 100} % are required`,
          ]
        : []),
      ...(serverErrors > 0 ? [`${operation}: ${serverErrors} responses are 5xx`] : []),
    ]),
  ];
}

/** Formats a report as a table with one line per operation. */
export function formatReport({ operations }: FuzzReport): string {
  return operations
    .map(({ operation, cases, accepted }) => {
      const share = cases === 0 ? 0 : (100 * accepted) / cases;
      return `  ${operation.padEnd(34)} ${String(cases).padStart(5)} cases ${share.toFixed(0).padStart(4)} % 2xx`;
    })
    .join('\n');
}

/** Streams the lines of a file. */
export function readLines(file: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
}

function listOperations(document: object): string[] {
  const { paths } = document as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}
