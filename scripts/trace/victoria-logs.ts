import { type LogLine, type LogStore, maxLines } from './model.ts';
import { parseStoreJson, requestStore } from './store-request.ts';

const variable = 'LOGS_URL';

/** Fields that the store and collectors add. */
const addedFields =
  /^(_|scope\.|log\.|severity_|kubernetes\.(?!pod_name$))|^k8s\.(?!pod\.name$)|^(logtag|time|level|msg|service)$/;

/** Creates a client of VictoriaLogs. @param baseUrl URL of the server, such as `http://localhost:9428` */
export function createVictoriaLogs(baseUrl: string): LogStore {
  return {
    name: `VictoriaLogs at ${baseUrl}`,
    async find(ids) {
      // Ids contain no characters that need escaping.
      const list = ids.map((id) => `"${id}"`).join(',');
      const { text } = await requestStore({
        variable,
        baseUrl,
        path: 'select/logsql/query',
        method: 'POST',
        parameters: {
          query: `correlation_id:in(${list}) or trace_id:in(${list}) | sort by (_time) | limit ${maxLines}`,
        },
      });
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => toLogLine(parseStoreJson(variable, line)));
    },
  };
}

function toLogLine(stored: Readonly<Record<string, string>>): LogLine {
  const { _time = '', _msg = '', service = '', level = '' } = stored;
  return {
    time: _time,
    service,
    level,
    message: _msg,
    fields: Object.fromEntries(Object.entries(stored).filter(([name]) => !addedFields.test(name))),
  };
}
