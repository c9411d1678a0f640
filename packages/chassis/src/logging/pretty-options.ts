/** Options of pino-pretty for lines on a terminal. */
export const prettyOptions = {
  singleLine: true,
  ignore: 'pid,hostname,service',
  translateTime: 'HH:MM:ss',
} as const;
