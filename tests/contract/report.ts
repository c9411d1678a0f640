import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** The part of a line of schemathesis's NDJSON report that is read here. */
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

/** How often an operation was called, and how it answered. */
export interface OperationCount {
  /** Method and path as the document has them. */
  readonly operation: string;
  cases: number;
  /** Answers with a 2xx status. */
  accepted: number;
  /** Answers with a 5xx status, and calls without any answer. */
  broken: number;
}

export interface FuzzReport {
  /** All calls, those with methods that no operation has among them. */
  cases: number;
  /** Calls of which a check had something to say. */
  failed: number;
  readonly operations: readonly OperationCount[];
}

/** Counts a report, given line by line, by the operations of an OpenAPI document. */
export async function countReport(lines: AsyncIterable<string>, document: object): Promise<FuzzReport> {
  const operations = new Map(
    operationsOf(document).map((operation) => [operation, { operation, cases: 0, accepted: 0, broken: 0 }]),
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
      if (status >= 500) count.broken += 1;
    }
  }
  return report;
}

/** What a report lacks, one line each. */
export function shortcomings(
  { cases, operations }: FuzzReport,
  { leastCases, leastShare }: { readonly leastCases: number; readonly leastShare: number },
): string[] {
  return [
    ...(cases < leastCases ? [`${cases} cases are fewer than ${leastCases}`] : []),
    ...operations.flatMap(({ operation, cases: called, accepted, broken }) => [
      ...(accepted < called * leastShare || called === 0
        ? [`${operation}: ${accepted} of ${called} answers are 2xx, fewer than ${leastShare * 100} %`]
        : []),
      ...(broken > 0 ? [`${operation}: ${broken} answers are 5xx`] : []),
    ]),
  ];
}

/** The table of a report, a line an operation. */
export function formatReport({ operations }: FuzzReport): string {
  return operations
    .map(({ operation, cases, accepted }) => {
      const share = cases === 0 ? 0 : (100 * accepted) / cases;
      return `  ${operation.padEnd(34)} ${String(cases).padStart(5)} cases ${share.toFixed(0).padStart(4)} % 2xx`;
    })
    .join('\n');
}

/** The lines of a file, without keeping all of it. */
export function linesOf(file: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
}

function operationsOf(document: object): string[] {
  const { paths } = document as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}
