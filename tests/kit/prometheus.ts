import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { startServer } from '../../packages/chassis/testing/server.ts';

/** The program, for `describeWithServer`. */
export const prometheusProgram = {
  title: 'Prometheus',
  names: ['prometheus'],
  required: 'REQUIRE_PROMETHEUS',
} as const;

/** A service to scrape. */
export interface Target {
  /** Value of the label `job`. */
  readonly job: string;
  readonly managementUrl: string;
}

/** A series of the result of a query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface TestPrometheus {
  /** Returns the current result of an expression, one sample for each series. @throws Error if Prometheus rejects it */
  query(expression: string): Promise<Sample[]>;
  /** Returns the labels of the exemplars of the last hour. @param expression selects buckets of histograms */
  exemplars(expression: string): Promise<Readonly<Record<string, string>>[]>;
  /** Returns the labels, with `__name__`, of all series that match a selector. */
  series(selector: string): Promise<Readonly<Record<string, string>>[]>;
  stop(): Promise<void>;
}

/**
 * Starts Prometheus, which scrapes the targets and evaluates the rules every second. The series have the labels that a ServiceMonitor sets.
 * @param ruleGroups groups of rules, as in a rule file
 */
export async function startPrometheus(
  targets: readonly Target[],
  ruleGroups: readonly unknown[] = [],
): Promise<TestPrometheus> {
  const { url, stop } = await startServer(prometheusProgram, {
    url: (port) => `http://127.0.0.1:${port}`,
    async prepare({ folder, port }) {
      await writeFile(join(folder, 'rules.yml'), stringify({ groups: ruleGroups }));
      const file = join(folder, 'prometheus.yml');
      await writeFile(file, stringify(configOf(targets, join(folder, 'rules.yml'))));
      return [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--enable-feature=exemplar-storage',
      ];
    },
    async connect(server) {
      const { status } = await sendRequest(`${server}/-/ready`);
      if (status !== 200) throw new Error(`Prometheus is not ready: ${status}`);
    },
  });
  const read = async (path: string, parameters: Readonly<Record<string, string | number>>) => {
    const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const { status, body } = await sendRequest(`${url}/api/v1/${path}?${query.join('&')}`);
    if (status !== 200) throw new Error(`${body.error} in: ${path} ${JSON.stringify(parameters)}`);
    return body;
  };
  return {
    async query(expression) {
      const body = await read('query', { query: expression });
      if (body.data.resultType === 'scalar') return [{ metric: {}, value: Number(body.data.result[1]) }];
      return body.data.result.map(
        ({ metric, value }: { metric: Sample['metric']; value: [number, string] }) => ({
          metric,
          value: Number(value[1]),
        }),
      );
    },
    async exemplars(expression) {
      const end = Date.now() / 1000;
      const { data } = await read('query_exemplars', { query: expression, start: end - 3600, end });
      return data.flatMap(({ exemplars }: { exemplars: { labels: Record<string, string> }[] }) =>
        exemplars.map(({ labels }) => labels),
      );
    },
    async series(selector) {
      return (await read('series', { 'match[]': selector })).data;
    },
    stop,
  };
}

function configOf(targets: readonly Target[], rulesFile: string) {
  return {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [rulesFile],
    scrape_configs: targets.map(({ job, managementUrl }) => ({
      job_name: job,
      static_configs: [
        { targets: [new URL(managementUrl).host], labels: { namespace: 'zerda', pod: `${job}-1` } },
      ],
    })),
  };
}
